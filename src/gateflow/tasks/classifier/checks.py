"""What is amiss in labelled texts: refused where nothing could be learnt, told where something else may be meant."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

from gateflow.data.labelled import LabelledText
from gateflow.errors import DataError, DataWarning
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.vocabulary import Vocabulary

__all__ = ["checked_labels", "tell_about_labels", "tell_about_texts"]

# Texts from which on so many different labels are no classes: with ten texts each may well have its own.
FEW = 20


def checked_labels(train: Sequence[LabelledText], others: Sequence[LabelledText], multi_label: bool) -> Labels:
    """All labels of all parts.

    Raises:
        DataError: every text has the same, or hardly two texts have one in common.
    """
    rows = [text.labels for text in train]
    if len(set(rows)) < 2:
        same = f"the label {rows[0][0]!s:.80}" if len(rows[0]) == 1 else f"the same {len(rows[0])} labels"
        raise DataError(f"every text to learn from has {same}, so there is nothing to learn.")
    labels = Labels.of([label for row in [*rows, *(text.labels for text in others)] for label in row], multi_label)
    if not multi_label and len(rows) >= FEW and len(set(rows)) > len(rows) / 2:
        numbers = all(_as_number(name) is not None for name in labels.names)
        what = "numbers, and no names of classes" if numbers else "texts of their own"
        raise DataError(
            f"{len(rows):,} texts have {len(set(rows)):,} different labels, such as {labels.names[0]!r:.40} and "
            f"{labels.names[1]!r:.40}: they look like {what}. Say with --label which column has the classes."
        )
    return labels


def tell_about_labels(labels: Labels, train: Sequence[LabelledText], valid: Sequence[LabelledText]) -> None:
    """Say what is strange about the labels.

    Warns:
        DataWarning: some are in the validation part alone, one number in two spellings, or the name of a column.
    """
    counts = Counter(str(label) for text in train for label in text.labels)
    later = {str(label) for text in valid for label in text.labels}
    if new := sorted(later - counts.keys()):
        _tell(
            f"{len(new)} label{'s' * (len(new) > 1)} of the validation part cannot be learnt, since no text to learn "
            f"from has {'them' if len(new) > 1 else 'it'}: {', '.join(new):.200}."
        )
    seen: dict[float, str] = {}
    for name in labels.names:
        number = _as_number(name)
        if number is not None and (other := seen.setdefault(number, name)) != name:
            _tell(f"{other!r:.40} and {name!r:.40} are two labels, though they look like one number; make them equal.")
    first = min([*train[:1], *valid[:1]], key=lambda text: text.line)
    # The first line of a table that was asked for by number.
    if len(labels) > 2 and len(first.labels) == 1 and counts[str(first.labels[0])] + (first in valid) == 1:
        _tell(
            f"the label {str(first.labels[0])!r:.80} of line {first.line} occurs once; if that line has the names of "
            "the columns, ask for the columns by their names, with --text and --label."
        )


def tell_about_texts(texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> None:
    """Say how many texts to learn from are empty, and of how many not all is read.

    Warns:
        DataWarning: there are some.
    """
    counts = [len(vocabulary.numbers(text, longest + 1)) for text in texts]
    if empty := counts.count(0):
        _tell(f"{empty:,} of the {len(texts):,} texts to learn from are empty; their label is learnt all the same.")
    if cut := sum(count > longest for count in counts):
        _tell(
            f"{cut:,} of the {len(texts):,} texts to learn from have more than {longest:,} tokens, and the rest of "
            "them is not read; --longest reads more."
        )


def _as_number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _tell(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=4)
