"""Series of numbers out of a seed, as files have them: two channels, ragged, high or low."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def series(count: int, seed: int = 0, channels: int = 2) -> list[tuple[np.ndarray, str]]:
    """Values ``[T, C]`` with their labels: whether they lie high or low."""
    random = np.random.default_rng(seed)
    labels = ["low", "high"]
    return [
        (random.normal(2.0 * (i % 2), 1.0, (int(random.integers(3, 9)), channels)), labels[i % 2]) for i in range(count)
    ]


def table(file: Path, found: list[tuple[np.ndarray, str]], names: str = "x,y", missing: float = 0.0) -> Path:
    """As CSV in long form, some values of the first channel missing."""
    random = np.random.default_rng(1)
    lines = [f"series,{names},label"]
    for i, (values, label) in enumerate(found):
        for row in values.tolist():
            first = "" if random.random() < missing else repr(row[0])
            lines.append(",".join([f"s{i}", first, *map(repr, row[1:]), label]))
    file.write_text("\n".join(lines) + "\n")
    return file


def reordered(file: Path, source: Path, columns: str) -> Path:
    """The same table with its columns in another order; of a name that it has not, zeros."""
    rows = [line.split(",") for line in source.read_text().splitlines()]
    at = {name: i for i, name in enumerate(rows[0])}
    wanted = columns.split(",")
    cells = [[row[at[name]] if name in at else "0" for name in wanted] for row in rows[1:]]
    file.write_text("\n".join(",".join(row) for row in [wanted, *cells]) + "\n")
    return file
