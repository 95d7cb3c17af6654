"""What is amiss in labelled examples: refused where nothing could be learnt, told where something else may be meant."""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateflow.data.labelled import Label, LabelledText
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs.base import Example, Input
from gateflow.tasks.classifier.targets import Labels, Numbers, Targets, number_of

__all__ = ["checked_labels", "checked_targets", "described", "refuse_no_numbers", "tell_about_labels"]

# Examples from which on so many different labels are no classes: with ten examples each may well have its own.
FEW = 20
# Labels that are told one by one.
TOLD = 12


def checked_targets(
    train: Sequence[Example], others: Sequence[Example], config: ClassifierConfig, kind: Input[Any]
) -> Targets:
    """What is to be found: all labels of all parts, or numbers like those of the training part.

    Raises:
        DataError: there is nothing to learn, or what should be a number is none.
    """
    data = config.data
    if data.regression and config.training.metric == "macro_f1":
        raise ConfigError("--metric macro_f1 is of labels, and --regression has numbers; leave one of the two out.")
    if not data.regression:
        return checked_labels(train, others, data.multi_label, data.per_step, kind.many)
    refuse_no_numbers((*train, *others), data.per_step)
    return Numbers.of([number_of(label) for example in train for label in example.labels], data.per_step)


def refuse_no_numbers(examples: Sequence[Example], per_step: bool) -> None:
    """Refuse labels that are no numbers.

    Raises:
        DataError: one is none, or infinite; or NaN where it is not that of one step among others.
    """
    for example in examples:
        for label in example.labels:
            if not _is_number(label, per_step):
                raise DataError(
                    f"{example.place}: {label!r:.60} is no number, and --regression is for numbers; leave it out, or "
                    "say with --label which column has them."
                )


def checked_labels(
    train: Sequence[Example],
    others: Sequence[Example],
    multi_label: bool,
    per_step: bool = False,
    many: str = "texts",
) -> Labels:
    """All labels of all parts.

    Raises:
        DataError: every example has the same, or hardly two have one in common.
    """
    # A step without a label is left out of what is learnt.
    # As texts, which is what labels are told apart by: 1 and "1" are one.
    rows = [tuple(str(label) for label in example.labels if label != "") for example in train]
    different = {(label,) for row in rows for label in row} if per_step else set(rows)
    if len(different) < 2:
        same = next(iter(different), ())
        what = f"the label {same[0]!s:.80}" if len(same) == 1 else f"the same {len(same)} labels"
        raise DataError(f"every {_one(many)} to learn from has {what}, so there is nothing to learn.")
    found = [label for example in (*train, *others) for label in example.labels if label != ""]
    labels = Labels.of(found, multi_label, per_step)
    if not multi_label and len(rows) >= FEW and len(different) > sum(map(len, rows)) / 2:
        numbers = all(_as_number(name) is not None for name in labels.names)
        remedy = "Say with --label which column has the classes" + (
            ", or with --regression that they are numbers to be predicted." if numbers else "."
        )
        what = "numbers, and no names of classes" if numbers else f"{many} of their own"
        raise DataError(
            f"{len(rows):,} {many} have {len(different):,} different labels, such as {labels.names[0]!r:.40} and "
            f"{labels.names[1]!r:.40}: they look like {what}. {remedy}"
        )
    return labels


def described(targets: Targets, train: Sequence[Example]) -> str:
    """What is to be found, with what there is to learn it from, as a line tells it.

    Example:
        >>> from gateflow.data.labelled import LabelledText
        >>> texts = [LabelledText("a film", (name,), line=1) for name in ("pos", "neg", "pos")]
        >>> described(Labels.of(["pos", "neg"]), texts)
        '2 labels: pos 2, neg 1'
    """
    found = [label for example in train for label in example.labels]
    if not isinstance(targets, Labels):
        numbers = [x for label in found if not math.isnan(x := number_of(label))]
        return f"numbers from {min(numbers):.4g} to {max(numbers):.4g}"
    counts = Counter(str(label) for label in found if label != "").most_common()
    told = ", ".join(f"{name:.40} {count:,}" for name, count in counts[:TOLD])
    return f"{len(counts)} labels{' of steps' * targets.per_step}: {told}{', …' * (len(counts) > TOLD)}"


def tell_about_labels(labels: Labels, train: Sequence[Example], valid: Sequence[Example]) -> None:
    """Say what is strange about the labels.

    Warns:
        DataWarning: some are in the validation part alone, one number in two spellings, or the name of a column.
    """
    counts = Counter(str(label) for example in train for label in example.labels)
    later = {str(label) for example in valid for label in example.labels} - {""}
    if new := sorted(later - counts.keys()):
        _tell(
            f"{len(new)} label{'s' * (len(new) > 1)} of the validation part cannot be learnt, since nothing to learn "
            f"from has {'them' if len(new) > 1 else 'it'}: {', '.join(new):.200}."
        )
    numbers: dict[float, str] = {}
    written: dict[str, str] = {}
    for name in labels.names:
        number = _as_number(name)
        if number is not None and (other := numbers.setdefault(number, name)) != name:
            _tell(f"{other!r:.40} and {name!r:.40} are two labels, though they look like one number; make them equal.")
        if (other := written.setdefault(unicodedata.normalize("NFC", name), name)) != name:
            _tell(
                f"{other!a:.40} and {name!a:.40} are two labels, though they look the same, {name:.40}; bring both to "
                "one form of Unicode, such as NFC."
            )
    texts = [example for example in (*train[:1], *valid[:1]) if isinstance(example, LabelledText)]
    if not texts:
        return
    first = min(texts, key=lambda text: text.line)
    # The first line of a table that was asked for by number.
    if len(labels) > 2 and len(first.labels) == 1 and counts[str(first.labels[0])] + (first in valid) == 1:
        _tell(
            f"the label {str(first.labels[0])!r:.80} of line {first.line} occurs once; if that line has the names of "
            "the columns, ask for the columns by their names, with --text and --label."
        )


def _is_number(label: Label, may_be_unknown: bool) -> bool:
    try:
        return not math.isnan(number_of(label)) or may_be_unknown
    except ValueError:
        return False


def _one(many: str) -> str:
    return {"texts": "text", "sounds": "sound"}.get(many, many)


def _as_number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _tell(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=4)
