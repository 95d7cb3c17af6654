"""Figures by lag that a task or an instrument adds to a report: a table in a terminal, lines on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from gateflow.flow.table import Printable, columns, plain

__all__ = ["ByLag"]


@dataclass(frozen=True, eq=False)
class ByLag(Printable):
    """What there is at each lag, one line of figures for each of several things.

    ``dataclasses.replace(report, by_lag=(found,))`` adds it to a report.

    Args:
        title: heading of its section on the page.
        reading: how to read it, for somebody who has never seen one.
        lines: by name, a value for each lag from 0; NaN where there is none.
        unit: what a value is.
        scale: "log", or "linear" for shares that sum to 1.

    Example:
        >>> import torch
        >>> lines = {"left": torch.tensor([1.0, 0.25]), "right": torch.tensor([0.0, 0.75])}
        >>> ByLag("Two ways", "Shares.", lines).rows()
        [['0', '1', '0'], ['1', '0.25', '0.75']]
    """

    title: str
    reading: str
    lines: Mapping[str, Tensor]
    unit: str = "share"
    scale: Literal["log", "linear"] = "linear"

    def rows(self) -> list[list[str]]:
        """A row for each lag 0, 1, 2, 4, 8 … and the last, where any line has a value."""
        length = max(map(len, self.lines.values()))
        doubled = [2**k for k in range(length.bit_length()) if 2**k < length]
        chosen = sorted({0, *doubled, length - 1})
        rows = [[str(lag), *(_told(line, lag) for line in self.lines.values())] for lag in chosen]
        return [row for row in rows if any(row[1:])]

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        lines = {name: plain(line) for name, line in self.lines.items()}
        return {"title": self.title, "unit": self.unit, "lines": lines}

    def __rich__(self) -> Any:
        table = columns(self.title, self.reading, "lag", *self.lines)
        # Few figures make a narrow table, and what is to be said of them takes its width.
        table.min_width = 100
        for row in self.rows():
            table.add_row(*row)
        return table


def _told(line: Tensor, lag: int) -> str:
    value = float(line[lag]) if lag < len(line) else math.nan
    return "" if math.isnan(value) else f"{value:.2g}"
