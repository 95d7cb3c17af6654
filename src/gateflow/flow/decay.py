"""From norms over (target, step, row) to how the gradient decays with the lag, and how far it reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Decay", "decay_of", "lags"]

# Stands for a ratio of zero under the logarithm: far below what
# is followed (1.2e-7), and its logarithm is an ordinary number.
_NEVER = 1e-30


@dataclass(frozen=True, eq=False)
class Decay:
    """`ρ(ℓ)`: the gradient's norm `ℓ` steps back as a share of its norm at its own step, geometric mean.

    Attributes:
        values: `ρ(0) … ρ(L)`; NaN at a lag that no target has.
        errors: standard error of `log ρ`, over the targets that were sampled; 0 where all were looked at.
        floor: what a gradient that was not followed to the end counts as.
    """

    values: Tensor
    errors: Tensor
    floor: float

    def horizon(self, epsilon: float = 0.01) -> int:
        """The largest lag with `ρ(ℓ) > ε`."""
        return _last_above(self.values, epsilon)

    def horizon_between(self, epsilon: float = 0.01) -> tuple[int, int]:
        """The horizons of `ρ` two standard errors lower and higher: what the sampling leaves open."""
        factor = (2 * self.errors).exp()
        return _last_above(self.values / factor, epsilon), _last_above(self.values * factor, epsilon)

    @property
    def half_life(self) -> float:
        """Steps in which the gradient halves: `log ½` over the slope of `log ρ`; infinite if it does not fall.

        The slope is fitted from lag 1 on: the first step back also leaves the output behind, which is no decay.
        """
        # Near the floor the mean is one of numbers and of what stands for numbers that were not followed.
        lag = (self.values > 10 * self.floor).nonzero()[:, 0]
        lag = lag[lag > 0]
        if len(lag) < 2:
            return math.nan
        away, heights = lag - lag.double().mean(), self.values[lag].log()
        slope = float((away * heights).sum() / away.square().sum())
        return math.log(0.5) / slope if slope < 0 else math.inf


def lags(at: Tensor, steps: int, reversed: bool) -> Tensor:
    """How many steps each step lies back from a target's own: `[n, B]` to `[n, T, B]`; negative is not back."""
    k = torch.arange(steps, device=at.device)[None, :, None]
    return k - at[:, None] if reversed else at[:, None] - k


def decay_of(norms: Tensor, at: Tensor, reversed: bool, share: float, floor: float) -> Decay:
    """Averages `log(‖δ_{t,t-ℓ}‖ / ‖δ_{t,t}‖)` over targets and rows.

    Args:
        norms: `[n, T, B]`, NaN where there is nothing to count.
        at: `[n, B]`, the step of each target in each row; -1 for none.
        reversed: whether lags run forward in time.
        share: of all targets, how many these are; 1 leaves no error.
        floor: what a norm of zero counts as, relative to its own step.
    """
    lag = lags(at, norms.shape[1], reversed)
    own = norms.gather(1, at.clamp(min=0)[:, None])
    counted = norms.isfinite() & (lag >= 0) & (at >= 0)[:, None] & (own > 0)
    floor = max(floor, _NEVER)
    ratio = (norms.double() / own.double()).clamp(min=floor).log()
    n, length = len(norms), int(lag[counted].max()) + 1 if bool(counted.any()) else 1
    # One histogram instead of a loop over lags: each pair falls into the cell of its target and its lag.
    target = torch.arange(n, device=norms.device)[:, None, None].expand_as(lag)
    cell = (target * length + lag)[counted]
    count = torch.bincount(cell, minlength=n * length).view(n, length).double()
    means = torch.bincount(cell, weights=ratio[counted], minlength=n * length).view(n, length) / count
    # First over rows, then over targets: rows of one target are
    # drawn together, so that only targets count for the error.
    mean = means.nanmean(0)
    spread = (means - mean).square().nansum(0) / (means.isfinite().sum(0) - 1).clamp(min=1)
    # The finite population correction: with all targets looked at there is no sampling error left.
    errors = (spread / means.isfinite().sum(0).clamp(min=1) * (1 - share)).sqrt()
    return Decay(mean.exp().cpu(), errors.cpu(), floor)


def _last_above(values: Tensor, epsilon: float) -> int:
    above = (values > epsilon).nonzero()
    return int(above[-1]) if len(above) else 0
