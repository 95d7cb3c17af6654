"""Joined handwriting of our own making: a stroke font, slanted, swaying and jittered, as data without a download."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import DataError

__all__ = ["LETTERS", "cursive", "cursive_lines"]

Points = NDArray[np.float64]

# Each letter as the pen goes: x and y of its points, from where it is joined to the one before to where it is joined to
# the next, both on the base line. An x is 4 high, and ascenders and descenders as much more. Behind a bar stand dots
# and bars, which are written when the word is done.
_FONT = {
    "a": "0 0 4 4 2 4 1 2 2 0 3 0 5 3 5 4 5 1 6 0",
    "b": "0 0 2 4 3 7 2 8 1 7 1 1 2 0 4 0 5 2 4 4 3 3 5 2 6 0",
    "c": "0 0 3 3 4 4 2 4 1 2 2 0 4 0 5 0",
    "d": "0 0 4 4 2 4 1 2 2 0 4 1 5 5 5 8 5 1 6 0",
    "e": "0 0 3 2 4 3 3 4 1 3 1 1 3 0 5 0",
    "f": "0 0 2 4 3 7 2 8 1 6 1 -3 2 -4 3 -2 2 0 4 0",
    "g": "0 0 4 4 2 4 1 2 2 0 4 1 5 4 5 -3 3 -4 2 -3 5 0 6 0",
    "h": "0 0 2 4 3 7 2 8 1 7 1 0 2 3 3 4 4 3 4 1 5 0",
    "i": "0 0 2 4 2 1 3 0 | 2 6 2 6",
    "j": "0 0 2 4 2 -3 1 -4 0 -3 2 0 3 0 | 2 6 2 6",
    "k": "0 0 2 4 3 7 2 8 1 7 1 0 2 3 4 4 3 2 2 2 4 0 5 0",
    "l": "0 0 2 4 3 7 2 8 1 7 1 1 2 0 3 0",
    "m": "0 0 1 4 1 0 2 3 3 4 3 0 4 3 5 4 6 3 6 1 7 0",
    "n": "0 0 1 4 1 0 2 3 3 4 4 3 4 1 5 0",
    "o": "0 0 3 4 1 3 1 1 3 0 5 2 4 4 3 4 5 3 6 0",
    "p": "0 0 2 4 2 -4 2 2 4 4 5 2 4 0 2 0 5 0 6 0",
    "q": "0 0 4 4 2 4 1 2 2 0 4 1 5 4 5 -4 6 -3 6 0",
    "r": "0 0 1 4 2 3 3 3 4 4 4 1 5 0",
    "s": "0 0 3 4 4 2 4 1 3 0 1 0 5 0",
    "t": "0 0 2 4 3 7 3 1 4 0 | 1 5 5 5",
    "u": "0 0 1 4 1 1 2 0 3 0 5 3 5 4 5 1 6 0",
    "v": "0 0 1 4 2 0 3 1 5 4 5 2 6 0",
    "w": "0 0 1 4 2 0 4 4 5 0 7 4 7 2 8 0",
    "x": "0 0 1 4 2 3 4 0 5 0 | 4 4 1 0",
    "y": "0 0 1 4 2 1 3 0 5 4 5 -3 3 -4 2 -3 5 0 6 0",
    "z": "0 0 1 4 4 4 1 0 3 0 4 -2 3 -4 2 -3 5 0",
}
LETTERS = "".join(_FONT)
"""What can be written, with spaces between words."""

_X_HEIGHT, _SPACE = 4.0, 4.0


def cursive(text: str, random: np.random.Generator) -> list[list[float]]:
    """The strokes of a text: points ``[x, y, pen]``, where the pen is 1 at the last point of a stroke.

    The letters of a word are one stroke, then come its dots and bars. Each letter has a width, height and place of its
    own; the whole has a slant, a sway of its base line, and a size.

    Args:
        text: small letters a to z in words between spaces.
        random: draws all that differs from writing to writing.

    Raises:
        DataError: it holds something else, or nothing.

    Example:
        >>> points = cursive("ill", np.random.default_rng(0))
        >>> len(points[0]), int(sum(pen for _, _, pen in points))
        (3, 2)
    """
    if not text.split() or set(text) - {*_FONT, " "}:
        raise DataError(f"{text!r:.60}: cursive has the letters {LETTERS} and spaces, and writes at least one.")
    strokes, at = list[Points](), 0.0
    for word in text.split():
        joined, marks = [], []
        for letter in word:
            (body, *later), width = _letter(letter, random)
            joined.append(_moved(body, at))
            marks += [_moved(mark, at) for mark in later]
            at += width
        strokes += [np.concatenate(joined), *marks]
        at += _SPACE * random.uniform(0.7, 1.3)
    return _written(strokes, random)


def cursive_lines(texts: Iterable[str], seed: int = 0) -> Iterator[str]:
    r"""Yield a JSON line for each text, as ``gateflow train transcriber`` reads them.

    Example:
        >>> line = json.loads(next(cursive_lines(["a cat"])))
        >>> line["text"], len(line["points"]) > 20
        ('a cat', True)
    """
    random = np.random.default_rng(seed)
    for text in texts:
        line: dict[str, Any] = {"text": text, "points": cursive(text, random)}
        yield json.dumps(line) + "\n"


def _letter(letter: str, random: np.random.Generator) -> tuple[list[Points], float]:
    """Its strokes with curves for corners, and how wide it is."""
    parts = [np.array(part.split(), dtype=np.float64).reshape(-1, 2) for part in _FONT[letter].split("|")]
    width = parts[0][-1, 0]
    size = random.uniform(0.85, 1.15, 2)
    strokes = []
    for part in parts:
        jittered = part + random.normal(0, 0.15, part.shape)
        # Where letters are joined both are at one place.
        if part is parts[0]:
            jittered[[0, -1]] = part[[0, -1]]
        strokes.append(_rounded(jittered) * size)
    return strokes, width * size[0]


def _moved(stroke: Points, along: float) -> Points:
    return stroke + np.array([along, 0.0])


def _rounded(points: Points) -> Points:
    """Corners cut twice, the ends left where they are.

    Source: Chaikin (1974). An algorithm for high-speed curve generation. Computer Graphics and Image Processing.
    """
    for _ in range(2):
        near, far = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        cut = np.stack([near, far], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def _written(strokes: list[Points], random: np.random.Generator) -> list[list[float]]:
    slant, size = random.uniform(-0.1, 0.6), random.uniform(5, 20)
    height, wave, phase = random.uniform(0, 0.6), random.uniform(10, 40), random.uniform(0, 2 * np.pi)
    found = []
    for stroke in strokes:
        x, y = stroke.T
        y = y + height * np.sin(x / wave + phase)
        points = np.stack([x + slant * y, y], 1) * size / _X_HEIGHT + random.normal(0, 0.01 * size, stroke.shape)
        found += [[round(px, 2), round(py, 2), 0] for px, py in points.tolist()]
        found[-1][2] = 1
    return found
