"""How results look in a terminal: tables and sparklines."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

__all__ = ["Printable", "Share", "columns", "plain", "sparkline"]

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


class Share(float):
    """What part of a gradient is left: a number, written as people write it.

    Args:
        value: the share; above 1 the gradient has grown.
        floor: down to where it was followed: what lies near it is only known to be less.

    Example:
        >>> print(Share(0.5), Share(0.034), Share(2e-5), Share(1e-7, floor=1.2e-7), Share(3.4), sep=", ")
        50 %, 3.4 %, 2e-5, below 1e-7, 3.4 times as much
    """

    floor: float

    def __new__(cls, value: float, floor: float = 0.0) -> Share:
        """A float that remembers its floor."""
        found = super().__new__(cls, value)
        found.floor = floor
        return found

    def __str__(self) -> str:
        value = float(self)
        if math.isnan(value):
            return "–"
        # Near the floor it is a mean of what was followed and of what stands for that which was not.
        if value <= 10 * self.floor:
            return f"below {_power(max(value, self.floor))}" if self.floor else "none"
        # What rounding makes of 1 is 100 %. From 0.0995 and 0.0095 down, two
        # digits and one would round up to the next form: 10 % is not written 10.0 %.
        if value > 1.05:
            return f"{value:.2g} times as much" if value < 100 else f"{_power(value)} times as much"
        return (
            f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %" if value >= 0.0095 else _power(value)
        )

    @property
    def told(self) -> str:
        """In a sentence, in which a gradient that has grown is not one that is left.

        Example:
            >>> Share(0.5).told, Share(3.4).told
            ('50 % of the gradient is left', 'the gradient has grown to 3.4 times its size')
        """
        return (
            f"the gradient has grown to {self:.2g} times its size" if self > 1.05 else f"{self} of the gradient is left"
        )


def _power(value: float) -> str:
    """One digit and a power of ten, without the zeros that Python puts before it."""
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}e{int(power)}"


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
