"""Whether a cell of torch's runs on torch's kernel or on ours: as both were measured on a card, never by a guess.

A table of a card is made by ``gateflow bench --tune`` and kept in the cache directory; those in `tables/` are made of
benchmarks/results by ``python -m benchmarks.tables``. A card without one of its own is taken for the first of these.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from gateflow.backends.cache import cache_directory, check_owner
from gateflow.files import read_bounded, write

__all__ = ["PRECISIONS", "Figure", "Measured", "faster_elsewhere", "keep", "measured_on", "text_of"]

PRECISIONS = ("float32", "tf32", "bfloat16")
"""Of products: as torch's switch for cuDNN says, which multiplies float32 by TF32 if it may."""

_ALIKE = {"ElmanReLU": "Elman", "ProjectedLSTM": "LSTM"}
"""Cells that take as long as another."""
_TILE = 16
"""Samples up to which a step takes as long as with one: 14.8 µs of a training with 1, 16.9 with 16 (LSTM of 512
units, H200), since matrix units and groups of lanes work on so many at once."""
_LARGEST = 1 << 20
"""Bytes of a table; one of all cells and sizes has a hundredth of it."""
SHIPPED = Path(__file__).parent / "tables"
"""Made of what was measured, in our repository."""


class Figure(NamedTuple):
    """What a training step took, in microseconds of the card for one time step."""

    cell: str
    precision: str
    hidden_size: int
    samples: int
    ours: float
    torchs: float


class Measured(NamedTuple):
    """The figures of one card."""

    card: str
    torch: str
    figures: tuple[Figure, ...]


@functools.lru_cache(4096)
def faster_elsewhere(card: str, cell: str, precision: str, hidden_size: int, samples: int | None) -> str | None:
    """Why torch's kernel of a cell is taken on a card, in words; none where ours took less time, or nothing is known.

    Args:
        card: its name.
        cell: the name of its class.
        precision: of products, one of `PRECISIONS`.
        hidden_size: units.
        samples: of the batch; if nobody knows, torch's is taken where it was faster for any number.

    Example:
        >>> faster_elsewhere("NVIDIA H200", "LSTM", "float32", 100, 4)  # doctest: +ELLIPSIS
        'took 4.9 µs a training step for 9.5 (128 units, 16 samples, float32, measured on NVIDIA H200, torch 2.1...)'
    """
    table = measured_on(card)
    alike = [f for f in table.figures if f.cell == _ALIKE.get(cell, cell) and f.precision == precision]
    if not alike:
        return None
    if samples is None:
        # At the nearest number of units, and of equally near ones at the smaller.
        units = min({f.hidden_size for f in alike}, key=lambda H: (abs(math.log2(H / hidden_size)), H))
        near = [f for f in alike if f.hidden_size == units]
        if not all(f.torchs < f.ours for f in near):
            return None
    else:
        near = alike
    nearest = min(near, key=lambda f: _distance(f, hidden_size, samples or _TILE))
    if nearest.ours <= nearest.torchs:
        return None
    where = f"{nearest.hidden_size} units, {nearest.samples} samples, {precision}"
    whose = f"measured on {table.card}, torch {table.torch}"
    remedy = "" if card == table.card else f"; for {card}: gateflow bench --tune"
    return f"took {nearest.torchs:.1f} µs a training step for {nearest.ours:.1f} ({where}, {whose}{remedy})"


def _distance(figure: Figure, hidden_size: int, samples: int) -> tuple[float, float, int]:
    """In octaves; of equally near ones the nearer in true samples, and then the larger batch."""
    units = abs(math.log2(figure.hidden_size / hidden_size))
    batch = abs(math.log2(max(figure.samples, _TILE) / max(samples, _TILE)))
    return units + batch, abs(math.log2(figure.samples / samples)), -figure.samples


@functools.cache
def measured_on(card: str) -> Measured:
    """The table of a card: its user's, else one that is shipped for it, else the first that is shipped."""
    shipped = [_parsed(file.read_bytes()) for file in sorted(SHIPPED.glob("*.json"))]
    tables = [_own(card), *(table for table in shipped if table and table.card == card), *shipped]
    return next(table for table in tables if table is not None)


def keep(table: Measured) -> Path:
    """Keeps the table of a card of this machine, for this version of torch and of gateflow.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(table.card)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(path.parent)
    write(path, text_of(table), private=True)
    measured_on.cache_clear()
    faster_elsewhere.cache_clear()
    return path


def text_of(table: Measured) -> str:
    """The file of a table: a line for each figure."""
    card, version = json.dumps(table.card), json.dumps(table.torch)
    lines = ",\n".join(json.dumps(figure) for figure in table.figures)
    return f'{{"card": {card}, "torch": {version}, "figures": [\n{lines}\n]}}\n'


def _path(card: str) -> Path:
    """Of another torch, or of other kernels, there are other tables: these are not what was measured."""
    words = re.sub(r"[^A-Za-z0-9.+]+", "-", f"{card} torch {torch.__version__}")
    return cache_directory() / f"{words}-{_kernels()}.measured.json"


@functools.cache
def _kernels() -> str:
    """A name for the kernels: what they are made by, hashed."""
    folder = Path(__file__).parent
    files = sorted((*folder.glob("*.py"), *folder.glob("native/*.cuh")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _own(card: str) -> Measured | None:
    """The table of this user, if there is a whole one; else the shipped ones do, as if there were none."""
    try:
        path = _path(card)
        check_owner(path)
        found = _parsed(read_bounded(path, _LARGEST))
    except (OSError, ValueError):
        return None
    return found if found is not None and found.card == card else None


def _parsed(content: bytes) -> Measured | None:
    """The table, if it is one: a file is not believed."""
    try:
        found = json.loads(content)
        figures = tuple(Figure(*row) for row in found["figures"])
        card, version = found["card"], found["torch"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = isinstance(card, str) and isinstance(version, str) and figures and all(map(_is_figure, figures))
    return Measured(card, version, figures) if whole else None


def _is_figure(figure: Figure) -> bool:
    sizes: Sequence[object] = (figure.hidden_size, figure.samples)
    times: Sequence[object] = (figure.ours, figure.torchs)
    return (
        isinstance(figure.cell, str)
        and figure.precision in PRECISIONS
        and all(type(size) is int and 0 < size <= 1 << 30 for size in sizes)
        and all(isinstance(time, (int, float)) and 0 < time < math.inf for time in times)
    )
