"""Strokes of a pen out of JSON lines, as points at equal distances along the ink; nothing in a file is believed.

{"text": "the cat", "points": [[x, y, pen], …]}         pen is 1 at the last point of a stroke, and 0 elsewhere
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.data.bad_files import read_each
from gateflow.data.series import Series
from gateflow.data.source import is_binary, spoken
from gateflow.data.text import half_character, read_lines
from gateflow.data.track import Track
from gateflow.data.transcripts import plain
from gateflow.errors import DataError, DataWarning

__all__ = ["CHANNELS", "points_along", "points_of", "read_strokes"]

Values = NDArray[np.float64]

CHANNELS = ("dx", "dy", "y", "begins")
"""What is read at each point: the way from the one before, its height, and whether a stroke begins there."""

# Points of a line of writing, written or made: a page has some ten thousand.
_MOST_POINTS = 1 << 20
# Of coordinates: squares and sums of as many points stay finite in float64.
_LARGEST = 1e12
# Ink whose height deviates by less than this share of its length is a bar: a quarter of it is taken for a letter's
# height. A line of a hundred letters deviates by a thousandth of its length.
_LEVEL = 1e-4


def read_strokes(
    path: Path,
    spacing: float = 0.35,
    *,
    skip_bad: bool = False,
    track: Track = lambda items, doing, total: items,
) -> Iterator[Series]:
    r"""Yield each line of a file as a series of points, its text the label, its times the numbers of points as written.

    Args:
        path: a JSON object a line with ``points`` and, if it is known, ``text``; ``name`` and ``group`` may be there.
            A line of writing whose last point does not lift the pen ends all the same.
        spacing: see `points_along`.
        skip_bad, track: as for `gateflow.data.bad_files.read_each`.

    Raises:
        DataError: a line is no such object, has no points, or one that is NaN.

    Warns:
        DataWarning: lines were left out; no point of all of them lifts the pen.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "strokes.jsonl"
        >>> _ = file.write_text('{"text": "l", "points": [[0, 0, 0], [0, 9, 1]]}\n')
        >>> [(line.label, line.channels) for line in read_strokes(file)]
        [('l', 4)]
    """
    if is_binary(path):
        raise DataError(f"{path} holds no strokes, which are lines of JSON, for it is no text.")
    lines = [(number, line) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    if not lines:
        raise DataError(f"{spoken(path)} holds no strokes: it is empty.")
    lifted = False
    read = partial(_series, where=spoken(path), spacing=spacing)
    for series, lifts in read_each(
        lines, read, spoken(path), skip_bad=skip_bad, what="lines", doing="reading strokes", track=track
    ):
        lifted |= lifts
        yield series
    if not lifted:
        warnings.warn(
            f"{spoken(path)}: no point of any line lifts the pen, so each line is read as one stroke. The third number "
            "of a point is 1 at the last point of a stroke, and 0 elsewhere.",
            DataWarning,
            stacklevel=2,
        )


def points_along(points: Values, spacing: float) -> tuple[NDArray[np.float32], Values]:
    """Points at equal distances along the ink, ``[T, 4]``, see `CHANNELS`; and where each lies among those given.

    Lengths are in deviations of the ink's height, so that neither the size of the writing nor the speed of the pen is
    seen. Every stroke keeps both its ends.

    Args:
        points: ``[N, 3]`` with x, y and pen, one or more.
        spacing: from point to point.

    Raises:
        DataError: there would be more than a million.
    """
    ends = np.flatnonzero(points[:-1, 2]) + 1
    strokes = np.split(points[:, :2], ends)
    unit, middle = _height(strokes)
    lengths = [np.concatenate([[0.0], np.hypot(*np.diff(stroke, axis=0).T).cumsum()]) for stroke in strokes]
    counts = [max(1, round(along[-1] / (spacing * unit))) + 1 if along[-1] else 1 for along in lengths]
    if sum(counts) > _MOST_POINTS:
        raise DataError(f"its ink is {sum(counts):,} points long at {spacing:g} deviations of its height")
    made, places, begins, first = [], [], [], 0
    for stroke, along, count in zip(strokes, lengths, counts, strict=True):
        at = np.linspace(0, along[-1], count)
        made.append(np.stack([np.interp(at, along, column) for column in stroke.T], 1))
        places.append(first + np.interp(at, along, np.arange(len(stroke))))
        begins.append(np.arange(count) == 0)
        first += len(stroke)
    joined = np.concatenate(made)
    ways = np.diff(joined, axis=0, prepend=joined[:1]) / unit
    height = (joined[:, 1:] - middle) / unit
    values = np.concatenate([ways, height, np.concatenate(begins)[:, None]], 1)
    return values.astype(np.float32), np.concatenate(places)


def _height(strokes: Sequence[Values]) -> tuple[float, float]:
    """The deviation and the mean of the ink's height, each piece by its length."""
    pieces = np.concatenate([np.diff(stroke, axis=0) for stroke in strokes])
    middles = np.concatenate([(stroke[1:, 1] + stroke[:-1, 1]) / 2 for stroke in strokes])
    weights = np.hypot(*pieces.T)
    if not weights.sum():  # dots alone
        heights = np.concatenate(strokes)[:, 1]
        return float(heights.std()) or 1.0, float(heights.mean())
    mean = float(np.average(middles, weights=weights))
    deviation = float(np.sqrt(np.average((middles - mean) ** 2, weights=weights)))
    length = float(weights.sum())
    return (deviation if deviation > _LEVEL * length else length / 4), mean


def _series(line: tuple[int, str], where: str, spacing: float) -> tuple[Series, bool]:
    number, text = line
    place = f"{where}, line {number}"
    found = _object(text, place)
    points = points_of(found.get("points"), place)
    words = {name: found.get(name) for name in ("text", "name", "group")}
    for name, value in words.items():
        if value is not None and not isinstance(value, str):
            raise DataError(f"{place}: {name} is {value!r:.40}, and no text.")
        if value is not None and half_character(value) is not None:
            raise DataError(f"{place}: {name} {value!r:.40} holds half of a character. Write the file again, in UTF-8.")
    try:
        values, times = points_along(points, spacing)
    except DataError as error:
        raise DataError(f"{place}: {error}. Look at its points, or give a larger --spacing.") from None
    label = None if words["text"] is None else plain(words["text"])
    series = Series(
        values,
        f"line {number}",
        label,
        times=times,
        name=words["name"] or f"line {number}",
        channel_names=CHANNELS,
        group=words["group"],
    )
    return series, bool(points[:, 2].any())


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is no JSON ({error!s:.80}).") from None
    if not isinstance(found, dict) or "points" not in found:
        raise DataError(f'{place}: {text[:60]!r} is no object {{"text": …, "points": [[x, y, pen], …]}}.')
    return found


def points_of(given: Any, place: str) -> Values:
    """Points ``[N, 3]`` out of lists, each looked at; `place` says where they stand.

    Raises:
        DataError: there are none, or one is no ``[x, y, pen]``.
    """
    if not isinstance(given, list) or not given:
        raise DataError(f"{place} has no points. Give a list of [x, y, pen].")
    if len(given) > _MOST_POINTS:
        raise DataError(f"{place} has {len(given):,} points, and {_MOST_POINTS:,} at most are read.")
    for k, point in enumerate(given, 1):
        if not (isinstance(point, list) and len(point) == 3 and all(type(x) in (int, float) for x in point)):
            raise DataError(f"{place}, point {k} is {point!r:.60}. A point is three numbers, [x, y, pen].")
        # Not `abs(x) <= largest` turned round: NaN is neither.
        if not all(abs(x) <= _LARGEST for x in point):
            raise DataError(f"{place}, point {k} is {point!r:.60}: NaN, infinite, or far too large. Leave it out.")
        if point[2] not in (0, 1):
            raise DataError(
                f"{place}, point {k}: its pen is {point[2]!r:.20}. It is 1 at the last point of a stroke, and else 0."
            )
    return np.array(given, dtype=np.float64)
