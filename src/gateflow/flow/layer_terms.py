"""The terms of one weight in one layer and direction, and what people ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.flow.table import plain, sparkline

__all__ = ["LayerTerms"]


@dataclass(frozen=True, eq=False)
class LayerTerms:
    """The terms of one weight in one layer and direction.

    Attributes:
        name, weight: such as `"encoder.l0"` and `"weight_hh"`.
        targets: time steps `t` looked at, `n` of them.
        norms: `‖G_{t,k}‖`, `[n, T]`, summed over the batch before the norm is taken, as the gradient is.
        shares: `⟨G_{t,k}, g⟩ / ‖g‖²` with `g` the whole gradient, `[n, T]`; negative where a term pulls the other way.
        gradient_norm: `‖g‖`, of autograd's gradient of the model itself.
        error: `‖Σ G_{t,k} - g‖ / ‖g‖`, over all terms, those of targets that were not looked at included.
    """

    name: str
    weight: str
    targets: tuple[int, ...]
    norms: Tensor
    shares: Tensor
    gradient_norm: float
    error: float

    @property
    def distance(self) -> Tensor:
        """`|t - k|`, `[n, T]`."""
        t = torch.tensor(self.targets, device=self.norms.device)
        return (t[:, None] - torch.arange(self.norms.shape[1], device=self.norms.device)).abs()

    @property
    def shares_by_lag(self) -> Tensor:
        """Sum of the signed shares at each distance; all distances together make 1."""
        return self._by_lag(self.shares)

    @property
    def norms_by_lag(self) -> Tensor:
        """Each distance's part of the sum of all norms: what there would be without cancellation."""
        lengths = self._by_lag(self.norms)
        return lengths / lengths.sum().clamp(min=1e-300)

    def beyond(self, lag: int) -> float:
        """The part of the sum of norms that comes from farther than `lag` steps."""
        return float(self.norms_by_lag[lag + 1 :].sum())

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        lists = {"norms": self.norms, "shares": self.shares}
        lists |= {"shares_by_lag": self.shares_by_lag, "norms_by_lag": self.norms_by_lag}
        found = {"name": self.name, "weight": self.weight, "error": self.error, "gradient_norm": self.gradient_norm}
        return found | {"targets": list(self.targets)} | {name: plain(tensor) for name, tensor in lists.items()}

    def _by_lag(self, values: Tensor) -> Tensor:
        return torch.bincount(self.distance.flatten().cpu(), weights=values.flatten().double().cpu())

    def row(self) -> list[str]:
        """Its line in the table of `Terms`."""
        far = [f"{self.beyond(lag):.0e}" if lag < self.norms.shape[1] else "" for lag in (1, 10, 100)]
        shares = sparkline(self.norms_by_lag.clamp(min=1e-30).log10().tolist(), -8.0, 0.0)
        return [self.name, self.weight, f"{self.gradient_norm:.2e}", *far, shares]
