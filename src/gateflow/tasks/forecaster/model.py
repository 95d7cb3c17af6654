"""A forecaster: recurrent layers over what has been, and from each of their states the quantiles of all steps ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.layers import Recurrent
from gateflow.layers.dropout import LockedDropout

__all__ = ["ForecasterModel", "in_order", "pinball"]

# Of what a state says about one step ahead, where it meets what is known of that step.
CONTEXT = 16


class ForecasterModel(nn.Module):
    """Quantiles of the next steps, from every step of a series at once.

    ``h = layers(x)``; of each state `h_t` a forecast of all steps ahead, `d_{t,k,q} = W h_t + b`, or where something is
    known of step `t + k` before it comes, `u_{t+k}`: `d_{t,k} = V tanh(U [C_k h_t, u_{t+k}])`. What is forecast is the
    departure from the seasonal naive forecast, in units of its usual error. So one pass over a series gives the
    forecasts from all of its steps, for training and for a backtest alike.

    Attributes:
        widening: ``[quantiles]``, how far each quantile is moved away from the median, see `calibration`; 1 until a
            validation has found it.

    Args:
        read: numbers that are read of a step.
        ahead: numbers that are known of a step to come; none if 0.
        targets, horizon: how many.
        quantiles: which are forecast.
        hidden_size, num_layers, dropout: of the layers.
        recurrent: further options of `gateflow.Recurrent`.

    Example:
        >>> model = ForecasterModel(5, 0, targets=1, horizon=4, quantiles=(0.1, 0.5, 0.9), hidden_size=8)
        >>> model(torch.zeros(10, 2, 5), torch.zeros(14, 2, 0), torch.tensor([10, 7])).shape
        torch.Size([10, 2, 4, 1, 3])

    Wen et al. 2017, "A multi-horizon quantile recurrent forecaster", arXiv:1711.11053, with its forking sequences.
    """

    widening: Tensor

    def __init__(
        self,
        read: int,
        ahead: int,
        *,
        targets: int,
        horizon: int,
        quantiles: Sequence[float],
        cell: str | type[Cell] = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        self.shape = (targets, len(quantiles))
        self.horizon = horizon
        self.middle = list(quantiles).index(0.5)
        self.register_buffer("widening", torch.ones(len(quantiles)))
        self.dropout = LockedDropout(dropout)
        self.recurrent = Recurrent(
            cell, read, hidden_size, num_layers=num_layers, variational_dropout=dropout, **recurrent
        )
        size = self.recurrent.output_size
        if ahead:
            self.contexts: nn.Linear | None = nn.Linear(size, horizon * CONTEXT)
            self.local = nn.Linear(CONTEXT + ahead, hidden_size)
            self.head = nn.Linear(hidden_size, targets * len(quantiles))
        else:
            self.contexts = None
            self.head = nn.Linear(size, horizon * targets * len(quantiles))
        # At first the forecast is the naive one, its quantiles those of a normal error whose mean size is the unit.
        nn.init.zeros_(self.head.weight)
        spread = math.sqrt(math.pi / 2) * torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64))
        with torch.no_grad():
            self.head.bias.view(-1, len(quantiles)).copy_(spread)

    def forward(self, read: Tensor, ahead: Tensor, lengths: Tensor) -> Tensor:
        """Departures from every step, ``[T, B, horizon, targets, quantiles]``.

        Args:
            read: ``[T, B, X]``.
            ahead: ``[T + horizon, B, U]``.
            lengths: ``[B]`` steps of each series.
        """
        return self.departures(self.states(read, lengths), self.windows(ahead))

    def states(self, read: Tensor, lengths: Tensor) -> Tensor:
        """What the layers make of the steps up to each one, ``[T, B, H]``."""
        return self.recurrent(read, lengths=lengths)[0]

    def windows(self, ahead: Tensor) -> Tensor:
        """What is known of the steps ahead of each step, ``[T, B, horizon, U]`` of ``[T + horizon, B, U]``; a view."""
        return ahead[1:].unfold(0, self.horizon, 1).movedim(-1, 2)

    def departures(self, states: Tensor, windows: Tensor) -> Tensor:
        """Of states ``[T, B, H]`` and what is known ahead of each, ``[T, B, horizon, targets, quantiles]``."""
        states = self.dropout(states)
        if self.contexts is None:
            found = self.head(states)
        else:
            contexts = self.contexts(states).unflatten(-1, (self.horizon, CONTEXT))
            found = self.head(torch.tanh(self.local(torch.cat([contexts, windows], dim=-1))))
        return found.view(*states.shape[:2], self.horizon, *self.shape)

    def calibrated(self, departures: Tensor) -> Tensor:
        """Departures ``[..., Q]`` as far from their medians as the validation has found right; in order."""
        found = in_order(departures)
        middle = found[..., self.middle, None]
        return in_order(middle + self.widening * (found - middle))


def in_order(quantiles: Tensor) -> Tensor:
    """Quantiles ``[..., Q]`` that do not cross (Chernozhukov, Fernández-Val and Galichon 2010)."""
    return quantiles.sort(dim=-1).values


def pinball(found: Tensor, wanted: Tensor, levels: Tensor) -> tuple[Tensor, int]:
    """The summed pinball loss of quantiles over all that is known, the mean over quantiles, and how many are known.

    ``L_q(d, y) = max(q (y - d), (q - 1) (y - d))``; its least mean is reached by the quantile `q` of `y`. Twice that of
    the median is the absolute error.

    Args:
        found: ``[..., Q]``.
        wanted: ``[...]``, NaN where it is not known.
        levels: ``[Q]``.

    Koenker and Bassett 1978, "Regression quantiles".

    Example:
        >>> loss, count = pinball(torch.tensor([[0.0], [9.0]]), torch.tensor([2.0, float("nan")]), torch.tensor([0.5]))
        >>> float(loss), count
        (1.0, 1)
    """
    known = wanted.isfinite()
    distance = wanted[known][:, None] - found[known]
    return torch.maximum(levels * distance, (levels - 1) * distance).mean(dim=-1).sum(), int(known.sum())
