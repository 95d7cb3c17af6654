"""How results look in a terminal: tables and sparklines."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

__all__ = ["Printable", "columns", "plain", "sparkline"]

# Eighths of a character's height: eight levels in one line of text.
_BARS = "▁▂▃▄▅▆▇█"


class Printable:
    """A result that `rich` draws by its `__rich__`, and `print` as the same thing in plain text."""

    def __rich__(self) -> Any:
        raise NotImplementedError

    def __str__(self) -> str:
        # 110 columns whatever the terminal has, so that a log and a test read the same as a screen.
        console = Console(file=io.StringIO(), width=110, color_system=None)
        console.print(self.__rich__())
        written = console.file
        assert isinstance(written, io.StringIO)
        return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def columns(title: str, caption: str, *names: str) -> Table:
    """An empty table: the first column is words, the others are figures."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for k, name in enumerate(names):
        table.add_column(name, justify="left" if k == 0 or name.endswith("→") else "right")
    return table


def plain(values: Tensor | float) -> Any:
    """A tensor as nested lists, for JSON, which knows neither NaN nor infinity: they become None."""
    numbers = values.tolist() if isinstance(values, Tensor) else values
    if isinstance(numbers, list):
        return [plain(number) for number in numbers]
    return numbers if math.isfinite(numbers) else None


def sparkline(values: Sequence[float], low: float, high: float, width: int = 28) -> str:
    """Values as bars from `low` to `high`, averaged to at most `width` of them; a gap where there is no value.

    Example:
        >>> sparkline([0.0, 0.5, 1.0], 0.0, 1.0)
        '▁▅█'
    """
    step = max(1, math.ceil(len(values) / width))
    groups = ([v for v in values[k : k + step] if not math.isnan(v)] for k in range(0, len(values), step))
    means = [sum(group) / len(group) if group else math.nan for group in groups]
    return "".join(" " if math.isnan(v) else _BARS[_level((v - low) / (high - low))] for v in means)


def _level(share: float) -> int:
    # The largest value would be a level of its own.
    return min(int(max(share, 0.0) * len(_BARS)), len(_BARS) - 1)
