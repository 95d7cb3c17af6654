"""Says which path runs each layer of a stack, and why, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gateflow.recurrence.dispatch import Choice

__all__ = ["Explanation", "explain"]


class HasChoices(Protocol):
    """A stack that can tell the cell and the path of each of its layers."""

    def choices(self, x: Tensor | None = None) -> list[tuple[str, Choice]]:
        """Name of the cell and its path, per layer."""
        ...


@dataclass(frozen=True)
class Explanation:
    """Per layer: the cell, the path, the reason. Prints as a table."""

    rows: tuple[tuple[str, Choice], ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of each layer, the lowest first."""
        return tuple(choice.path for _, choice in self.rows)

    def __str__(self) -> str:
        return "\n".join(f"layer {k}  {name}: {c.path} ({c.reason})" for k, (name, c) in enumerate(self.rows))


def explain(layer: HasChoices, x: Tensor | None = None) -> Explanation:
    """Which path runs each layer of `layer` on an input such as `x`, and why.

    Args:
        layer: a `gateflow.Recurrent`, `RNN`, `GRU` or `LSTM`.
        x: the input, whose device and dtype matter; on the CPU and in the layer's own dtype if not given.

    Example:
        >>> import gateflow
        >>> from gateflow.recurrence import force_path
        >>> with force_path("reference"):
        ...     print(explain(gateflow.LSTM(3, 4)))
        layer 0  LSTM: reference (force_path)

    Where there is a C++ compiler, `explain(gateflow.Recurrent("full_gru", 3, 4))` prints
    `layer 0  FullGRU: native (compiled from its step)`.
    """
    return Explanation(tuple(layer.choices(x)))
