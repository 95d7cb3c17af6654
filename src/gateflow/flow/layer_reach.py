"""Reach in one layer and direction: the norms, and the figures that people ask of them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.flow.decay import Decay
from gateflow.flow.table import plain, sparkline

__all__ = ["LayerReach"]


@dataclass(frozen=True, eq=False)
class LayerReach:
    """Reach in one layer and direction.

    Attributes:
        name: such as `"encoder.l0_reverse"`.
        targets: time steps `t` looked at, `n` of them.
        norms: `‖∂E_t/∂s_k‖` over the full state, `[n, T, B]`. NaN where there is nothing to count: padding, no loss at
            `t` in that row, a step that comes after `t` and cannot matter to it, or cut off by truncation.
        parts: the same for each part of the state alone, such as `h` and `c`.
        at: `[n, B]`, the step at which the loss of `t` is nearest; `t` itself, or -1 for none.
        reversed: whether the layer reads from the end, so that its past lies at later steps.
        cuts: steps before which the model detached the state (truncated back-propagation).
        cut: `[n, T, B]`, pairs that this keeps apart. Not vanished: never sent.
        decay: `ρ(ℓ)`, how the norm over the full state falls with the lag.
    """

    name: str
    targets: tuple[int, ...]
    norms: Tensor
    parts: dict[str, Tensor]
    at: Tensor
    reversed: bool
    cuts: tuple[int, ...]
    cut: Tensor
    decay: Decay

    @property
    def horizon(self) -> int:
        """The largest lag at which 1 % of the gradient is left."""
        return self.decay.horizon()

    @property
    def open(self) -> bool:
        """Whether the horizon is only where the sequence, or the truncation, ended."""
        return self.horizon == len(self.decay.values) - 1

    @functools.cached_property
    def matrix(self) -> Tensor:
        """`[T, T]`, row `t`, column `k`: the mean of `‖∂E_t/∂s_k‖` over the batch; NaN as in `norms`."""
        full = torch.full((max(self.norms.shape[1], self.targets[-1] + 1), self.norms.shape[1]), torch.nan)
        full[list(self.targets)] = self.norms.nanmean(-1).float().cpu()
        return full

    def left_at(self, lag: int) -> float:
        """`ρ(lag)`; NaN if the sequences are not that long."""
        return float(self.decay.values[lag]) if lag < len(self.decay.values) else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single rows, as numbers and lists; NaN as None."""
        return {
            "name": self.name,
            "horizon": self.horizon,
            "horizon_between": list(self.decay.horizon_between()),
            "open": self.open,
            "half_life": plain(self.decay.half_life),
            "decay": plain(self.decay.values),
            "decay_error": plain(self.decay.errors),
            "reversed": self.reversed,
            "cuts": list(self.cuts),
            "targets": list(self.targets),
            "matrix": plain(self.matrix),
        }

    def row(self, exact: bool) -> list[str]:
        """Its line in the table of `Reach`."""
        low, high = self.decay.horizon_between()
        horizon = f"≥ {self.horizon}" if self.open else str(self.horizon)
        horizon += "" if exact else f" ({low} to {high})"
        half_life = f"{self.decay.half_life:.1f}" if math.isfinite(self.decay.half_life) else ""
        figures = [self._figure(lag) for lag in (1, 10, 100)]
        return [self.name, str(self.norms.shape[1]), horizon, half_life, *figures, self._line()]

    def _figure(self, lag: int) -> str:
        left = self.left_at(lag)
        return "" if math.isnan(left) else f"{'<' if left <= self.decay.floor else ''}{left:.0e}"

    def _line(self) -> str:
        """The decay down to where it was followed, and the lag of its end."""
        end = self.decay.horizon(1.5 * self.decay.floor)
        logs = self.decay.values[: end + 1].clamp(min=1e-30).log10()
        return f"{sparkline(logs.tolist(), -8.0, 0.0)} {end}"
