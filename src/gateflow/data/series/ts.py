"""Files in the form ``.ts`` of the UEA and UCR archives: a header of ``@`` lines, then a case a line.

    @problemName JapaneseVowels
    @univariate false
    @dimensions 12
    @classLabel true 1 2 3
    @data
    1.8,1.9,…:-0.2,-0.3,…:…:1          channels separated by colons, values by commas, the label last

Löning et al. 2019, "sktime: A unified interface for machine learning with time series"; the format's own description is
in the documentation of `aeon`, by which this reader is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.moments import Moments, moments, rising
from gateflow.data.series.series import Series, checked, numbers
from gateflow.data.source import spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["COMMENTS", "TAGS", "read_ts"]

COMMENTS = ("#", "%")
"""What a line that says nothing begins with; the second is of older files."""

TAGS = frozenset(
    "@problemname @timestamps @missing @univariate @dimension @dimensions @equallength @serieslength @classlabel "
    "@targetlabel @data".split()
)
"""What the lines of a header begin with, in small letters."""

# A value with its time, where `@timeStamps true` says that all have one.
_TIMED = re.compile(r"\(\s*([^,()]*)\s*,\s*([^,()]*)\s*\)")


@dataclass
class _Header:
    """What the ``@`` lines say; a file may leave out most of them."""

    channels: int | None = None
    labelled: bool = False
    classes: frozenset[str] | None = None
    timed: bool = False


def read_ts(path: Path) -> Iterator[Series]:
    """Yield the cases of a file, one in memory at a time.

    Raises:
        DataError: as `gateflow.data.text.read_lines`; or a header that is none, a case that does not keep to it, what
            is no number, channels of different lengths. The message names the line.
    """
    lines = enumerate(read_lines(path), 1)
    header = _header(lines, path)
    found = False
    for number, line in lines:
        if line.strip() and not line.startswith(COMMENTS):
            found = True
            yield _case(line.strip(), header, f"{spoken(path)}, line {number}", f"line {number}")
    if not found:
        raise DataError(f"{spoken(path)} has no case after @data. Give a file with series in it.")


def _header(lines: Iterator[tuple[int, str]], path: Path) -> _Header:
    header = _Header()
    for number, line in lines:
        words = line.split()
        if not words or line.startswith(COMMENTS):
            continue
        where, tag = f"{spoken(path)}, line {number}", words[0].lower()
        if tag == "@data":
            return header
        if not tag.startswith("@"):
            raise DataError(f"{where}: {line[:40]!r} is no line of a header; one begins with @, the last is @data.")
        _take(header, tag, words[1:], where)
    raise DataError(f"{spoken(path)} has a header of a .ts file and no line @data. Was it cut short?")


def _take(header: _Header, tag: str, values: list[str], where: str) -> None:
    """Note what a line of the header says. Lengths and missing values are seen in the cases, whatever it says."""
    match tag:
        case "@dimensions" | "@dimension":
            header.channels = _count(values, where, tag)
        case "@univariate":
            header.channels = 1 if _truth(values, where, tag) else header.channels
        case "@timestamps":
            header.timed = _truth(values, where, tag)
        case "@classlabel" | "@targetlabel":
            header.labelled = _truth(values[:1], where, tag)
            header.classes = frozenset(values[1:]) or None
        case _:
            pass


def _truth(values: list[str], where: str, tag: str) -> bool:
    found = {"true": True, "false": False}.get(values[0].lower() if len(values) == 1 else "")
    if found is None:
        raise DataError(f"{where}: after {tag} stands true or false, not {' '.join(values)[:40]!r}.")
    return found


def _count(values: list[str], where: str, tag: str) -> int:
    if len(values) != 1 or not values[0].isdecimal() or not (found := int(values[0])):
        raise DataError(f"{where}: after {tag} stands a number from 1 on, not {' '.join(values)[:40]!r}.")
    return found


def _case(line: str, header: _Header, where: str, place: str) -> Series:
    if header.timed and not line.startswith("("):
        raise DataError(f"{where}: with @timeStamps true each value is written (time,value), and {line[:40]!r} is not.")
    # Times may hold colons (10:30:00); what separates channels then stands after a bracket.
    parts = [part.strip() for part in (re.split(r"(?<=\))\s*:", line) if header.timed else line.split(":"))]
    label = _label(parts.pop(), header, where) if header.labelled else None
    if not parts or header.channels not in (None, len(parts)):
        wanted = "one or more" if header.channels is None else header.channels
        label_too = ", and the label after them" if header.labelled else ""
        raise DataError(f"{where}: {len(parts)} channels, and {wanted} were expected{label_too}. Colons separate them.")
    read = [_timed(part, where) if header.timed else (None, numbers(part.split(","), where)) for part in parts]
    lengths = sorted({len(values) for _, values in read})
    if len(lengths) > 1:
        raise DataError(
            f"{where}: channels of {lengths[0]} to {lengths[-1]} values. All channels of a case have as many; "
            "write NaN where one has no value."
        )
    times = read[0][0]
    if any(not np.array_equal(each, times) for each, _ in read if each is not None and times is not None):
        raise DataError(f"{where}: channels whose times differ. Give all the same times, NaN where one has no value.")
    values = np.stack([values for _, values in read], axis=1)
    return Series(checked(values, where), place, label, times=None if times is None else rising(times, where))


def _label(text: str, header: _Header, where: str) -> str:
    if not text:
        raise DataError(f"{where}: the label is missing; it stands after the last colon.")
    if header.classes is not None and text not in header.classes:
        known = ", ".join(sorted(header.classes)[:8])
        raise DataError(f"{where}: the label {text!r:.40} is none of those after @classLabel ({known:.80}).")
    return text


def _timed(part: str, where: str) -> tuple[Moments, NDArray[np.float64]]:
    pairs = _TIMED.findall(part)
    if not pairs or _TIMED.sub("", part).strip(" ,"):
        raise DataError(f"{where}: with @timeStamps true each value is written (time,value), and {part[:40]!r} is not.")
    times, values = zip(*pairs, strict=True)
    return moments(times, where), numbers(values, where)
