"""Examples that are given in Python: lists of texts, arrays of numbers, and their labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gateflow.data.labelled import Label, LabelledText, Truth
from gateflow.data.series import Series
from gateflow.data.series.series import checked
from gateflow.data.text import half_character
from gateflow.errors import DataError

__all__ = ["examples", "kind_of_given", "labelled"]


def kind_of_given(X: Any) -> str:
    """``series`` if the first of some examples is an array of numbers, else ``text``."""
    _refuse_table(X, "X")
    first = next(iter(X), "") if not isinstance(X, str | Path) else ""
    return "text" if isinstance(first, str) else "series"


def examples(X: str | Path | Iterable[Any], kind: str) -> Iterator[Any]:
    """Texts, or series of arrays ``[T, C]`` or ``[T]``, each looked at.

    Raises:
        DataError: one is something else.
    """
    if isinstance(X, str | Path):
        raise _one_text(X)
    _refuse_table(X, "X")
    if kind == "text":
        return (_text(i, text) for i, text in enumerate(X))
    return _alike(_series(i, values) for i, values in enumerate(X))


def labelled(
    X: str | Path | Sequence[Any],
    y: Sequence[Any],
    kind: str,
    *,
    multi_label: bool,
    per_step: bool,
    regression: bool,
    groups: Any,
) -> list[Any]:
    """Examples with their labels.

    Raises:
        DataError: there are none, or not as many of each, or one is something else.
    """
    if isinstance(X, str | Path):
        raise _one_text(X)
    for name, given in (("X", X), ("y", y), ("groups", groups)):
        _refuse_table(given, name)
    # By their places: a column of a table that was sorted or cut has rows of other numbers.
    y, groups = list(y), None if groups is None else list(groups)
    one, what = ("text", "texts") if kind == "text" else ("series", "series")
    if len(X) != len(y):
        raise DataError(f"{len(X)} {what} were given and {len(y)} labels; give one for each of them.")
    if groups is not None and len(groups) != len(X):
        raise DataError(f"{len(X)} {what} were given and {len(groups)} groups; give one for each of them.")
    if not len(X):
        raise DataError(f"no {what} were given; give some, as fit(['a good film', 'a bad film'], ['good', 'bad']).")
    found = []
    for i, example in enumerate(examples(X, kind)):
        labels = _labels(f"{one} {i}", y[i], multi_label=multi_label, per_step=per_step, regression=regression)
        group = None if groups is None else str(groups[i])
        if kind == "text":
            found.append(replace(example, labels=labels, group=group))
        elif per_step:
            if len(labels) != len(example):
                raise DataError(f"series {i} has {len(example)} steps and {len(labels)} labels; give one for each.")
            found.append(replace(example, step_labels=tuple(map(_kept, labels)), group=group))
        else:
            found.append(_labelled_series(example, labels, multi_label, group))
    return found


def _refuse_table(given: Any, name: str) -> None:
    """Refuse what would be gone through by the names of its columns and not by its rows."""
    if hasattr(given, "columns") or isinstance(given, Mapping):
        raise DataError(
            f"{name} is a table; give one of its columns, such as {name}['text'], or its numbers as an array "
            "[series, steps, channels]."
        )


def _kept(label: Label) -> Label:
    """A whole number as it is; a fraction, which is to be predicted, as the text that a file would have."""
    return str(label) if isinstance(label, float) else label


def _one_text(X: str | Path) -> DataError:
    return DataError(f"{str(X)!r:.60} is one text; give a list of texts, as ['a good film'].")


def _labelled_series(series: Series, labels: tuple[Label, ...], multi_label: bool, group: str | None) -> Series:
    if multi_label:
        return replace(series, several=tuple(map(_kept, labels)), group=group)
    return replace(series, label=_kept(labels[0]), group=group)


def _text(i: int, text: Any) -> LabelledText:
    if not isinstance(text, str):
        raise DataError(f"text {i} is {text!r:.60}, and no text; give a list of texts, as ['a good film'].")
    if half_character(text) is not None:
        raise DataError(f"text {i} holds half of a character, {text!r:.60}; read it anew from its source.")
    return LabelledText(str(text), (), line=i)


def _series(i: int, values: Any) -> Series:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.ndim not in (1, 2) or not found.size:
        raise DataError(
            f"series {i} is {str(values)!r:.60}; give arrays of numbers, [steps, channels] or [steps] each, or one "
            "array [series, steps, channels]."
        )
    return Series(checked(found if found.ndim == 2 else found[:, None], f"series {i}"), f"series {i}")


def _alike(found: Iterator[Series]) -> Iterator[Series]:
    first = next(found, None)
    for series in chain([] if first is None else [first], found):
        assert first is not None
        if series.channels != first.channels:
            raise DataError(
                f"{series.place} has {series.channels} channels, and {first.place} {first.channels}; all have the same."
            )
        yield series


def _labels(of: str, given: Any, *, multi_label: bool, per_step: bool, regression: bool) -> tuple[Label, ...]:
    if not multi_label and not per_step:
        return (_label(of, given, regression),)
    if isinstance(given, str) or not isinstance(given, Iterable):
        option = "multi_label" if multi_label else "per_step"
        raise DataError(f"{of} has {given!r:.60}; with {option} give a list of labels for each.")
    found = tuple(_label(of, label, regression, may_be_missing=per_step) for label in given)
    return found if per_step else tuple(dict.fromkeys(found))


def _label(of: str, label: Any, regression: bool, may_be_missing: bool = False) -> Label:
    if may_be_missing and (label is None or label == "" or (isinstance(label, float) and math.isnan(label))):
        return ""
    if isinstance(label, bool | np.bool_):
        return Truth.of(bool(label))
    if isinstance(label, int | np.integer):
        if abs(int(label)) >= 2**63:
            raise DataError(f"{of} has the label {label!s:.40}; a whole number has 64 bits, so give it as a text.")
        return int(label)
    if regression and isinstance(label, float | np.floating):
        if not math.isfinite(label):
            raise DataError(f"{of} has the number {label}, which is not finite; leave it out.")
        return float(label)
    if not isinstance(label, str) or not label or label != label.strip():
        raise DataError(
            f"{of} has the label {label!r:.60}; a label is a whole number, or a text without spaces around."
        )
    if half_character(label) is not None:
        raise DataError(f"{of} has half of a character in its label, {label!r:.60}; read it anew from its source.")
    return str(label)
