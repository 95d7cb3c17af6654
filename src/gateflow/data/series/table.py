"""CSV in long form: a row is one step of one series, with a column for each channel.

series,time,temperature,pressure,label
a,2026-01-01,20.5,1013,dry
a,2026-01-02,21.0,,dry               a missing value
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.moments import in_utc, moments, rising
from gateflow.data.series.series import Series, checked, numbers
from gateflow.data.source import spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["Columns", "read_table"]

SEPARATORS = ",;\t"
SERIES = ("series", "unique_id", "series_id", "item_id", "id")
TIMES = ("time", "timestamp", "date", "datetime", "ds", "step", "t")
LABELS = ("label", "class", "target")
"""Names by which a column is recognised, in small letters, if nothing else is said."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, by name.

    Attributes:
        series: tells rows of one series; without such a column all rows are one.
        time: when a step was; rows of a series are sorted by it. Without it they stand in the order of the file.
        label: of the series, the same in all of its rows; or of the step, where `per_step` says so.
        channels: the numbers. Left out: all other columns.
        per_step: the label is that of a step.
        group: what a series belongs to, the same in all of its rows.
        labelled: whether a column may be one of labels; otherwise one so called is a channel.
        needed: whether the column of labels that is asked for must be there.
        named_by: the options that say which columns are channels, for messages.
    """

    series: str | None = None
    time: str | None = None
    label: str | None = None
    channels: tuple[str, ...] = ()
    per_step: bool = False
    group: str | None = None
    labelled: bool = True
    needed: bool = True
    named_by: str = "--channels"


@dataclass
class _Rows:
    """The rows of one series as they were read."""

    line: int
    cells: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def read_table(path: Path, columns: Columns = Columns()) -> Iterator[Series]:
    """Yield the series of a table in the order in which they begin; rows of several may take turns.

    Raises:
        DataError: as `gateflow.data.text.read_lines`; or there is no header, a column is missing or stands in it twice,
            a row has more or fewer cells, what is no number, a series with two labels. The message names the line.
    """
    lines = read_lines(path)
    first = next(lines, "")
    separator = max(SEPARATORS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    found = _resolved(columns, header, spoken(path))
    try:
        grouped = _grouped(csv.reader(lines, delimiter=separator), header, found, spoken(path))
    except csv.Error as error:
        raise DataError(f"{spoken(path)} is no table: {error}. Is a quotation mark not closed?") from None
    for name, rows in grouped.items():
        yield _series(name, rows, found, spoken(path))


def _resolved(asked: Columns, header: Sequence[str], file: str) -> Columns:
    """The columns with the names that the header has; those not asked for are recognised by their usual names."""
    if twice := {name for name in header if header.count(name) > 1}:
        raise DataError(f"{file}: the header has the column {min(twice)!r:.40} twice. Give each a name of its own.")
    if not asked.needed and asked.label not in header:
        asked = replace(asked, label=None)
    for name in filter(None, (asked.series, asked.time, asked.label, asked.group, *asked.channels)):
        if name not in header:
            known = ", ".join(header)
            raise DataError(f"{file} has no column {name!r:.40} in its first line, only {known:.120}.")

    # What is named as a channel is no time, though it may be called `t`.
    others = [name for name in header if name not in asked.channels]
    series, time = asked.series or _usual(others, SERIES), asked.time or _usual(others, TIMES)
    label = asked.label or (_usual(others, LABELS) if asked.labelled else None)
    if not (asked.channels and asked.labelled):
        _refuse_alike(others, asked, file)
    channels = asked.channels or tuple(name for name in header if name not in (series, time, label, asked.group))
    if not channels:
        raise DataError(
            f"{file} has no column of numbers beside {', '.join(header):.120}. The first line names columns."
        )
    return replace(asked, series=series, time=time, label=label, channels=channels)


def _usual(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in header if name.lower() in names), None)


def _refuse_alike(header: Sequence[str], asked: Columns, file: str) -> None:
    """Refuse a second column of labels or of series, which would be read as numbers: it tells what is to be found."""
    for what, names, own in (
        ("series", SERIES, asked.series),
        ("label", LABELS if asked.labelled else (), asked.label),
    ):
        found = [name for name in header if name.lower() in names]
        others = [name for name in found if name != own]
        if len(found) > 1 if own is None else what == "label" and others:
            raise DataError(
                f"{file}: {' and '.join(dict.fromkeys([*filter(None, [own]), *others])):.80} may both be the "
                f"column of the {what}. Say with --{what} which one is, and with {asked.named_by} which columns "
                "hold numbers."
            )


def _grouped(rows: Iterator[list[str]], header: Sequence[str], columns: Columns, file: str) -> Mapping[str, _Rows]:
    at = {name: i for i, name in enumerate(header)}
    channels = [at[name] for name in columns.channels]
    series, time, label, group = (
        None if name is None else at[name] for name in (columns.series, columns.time, columns.label, columns.group)
    )
    found: dict[str, _Rows] = {}
    for line, row in enumerate(rows, 2):
        # Nothing between separators is a step of which no value is known, if rows are told apart by their order alone.
        if not any(map(str.strip, row)) and (series is not None or time is not None or len(row) < len(header)):
            continue
        if len(row) != len(header):
            raise DataError(f"{file}, line {line}: {len(row)} cells, and the first line names {len(header)} columns.")
        of = found.setdefault("" if series is None else row[series].strip(), _Rows(line))
        of.cells.extend(row[i] for i in channels)
        if time is not None:
            of.times.append(row[time])
        if label is not None:
            of.labels.append(row[label].strip())
        if group is not None:
            of.groups.append(row[group].strip())
    if not found:
        raise DataError(f"{file} has no rows below its first line. Give a file with series in it.")
    return found


def _values(rows: _Rows, columns: Columns, where: str) -> NDArray[np.float64]:
    """The numbers, ``[T, C]``; a column that begins with something else was not meant as a channel."""
    try:
        return numbers(rows.cells, where).reshape(-1, len(columns.channels))
    except DataError as error:
        first = zip(columns.channels, rows.cells, strict=False)
        words = [name for name, cell in first if f"{cell.strip()!r:.40} is no number" in str(error)]
        if not words:
            raise
        label = "it with --label, if it holds the labels, or " if columns.labelled and not columns.label else ""
        raise DataError(
            f"{error} If the column {words[0]!r:.40} holds none, name {label}with {columns.named_by} those that do."
        ) from None


def _series(name: str, rows: _Rows, columns: Columns, file: str) -> Series:
    place = f"series {name!r:.40}" if columns.series else "its rows"
    where = f"{file}, {place} (from line {rows.line})"
    values = _values(rows, columns, where)
    times, utc, labels = None, False, rows.labels
    if columns.time:
        times = moments(rows.times, where)
        utc = in_utc(rows.times[0], times[0])
        order = np.argsort(times, kind="stable")  # steps of one time stay in the file's order
        values, times = values[order], rising(times[order], where)
        labels = [labels[i] for i in order] if labels else []
    if labels and not columns.per_step and len(different := sorted(set(labels))) > 1:
        raise DataError(
            f"{where}: two labels, {different[0]!r:.30} and {different[1]!r:.30}. A series has one; or say that each "
            "step has its own."
        )
    if len(groups := sorted(set(rows.groups))) > 1:
        raise DataError(f"{where}: two groups, {groups[0]!r:.30} and {groups[1]!r:.30}. A series is in one.")
    return Series(
        checked(values, where),
        place,
        label=labels[0] if labels and not columns.per_step else None,
        step_labels=tuple(labels) if labels and columns.per_step else None,
        times=times,
        name=name or None,
        channel_names=columns.channels,
        group=groups[0] if groups else None,
        utc=utc,
    )
