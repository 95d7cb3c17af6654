"""Norm clipping (Algorithm 1) that keeps count, adapts if asked, and never lets a non-finite gradient through."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, NonFiniteError

__all__ = ["NormClipper", "gradient_norm"]


def gradient_norm(model: nn.Module) -> float:
    """`‖∂E/∂θ‖` over all parameters that have a gradient; squares that overflow or underflow are summed in float64.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> layer.weight.grad = torch.full((1, 1), 1e30)
        >>> gradient_norm(layer)
        1.0000000150474662e+30
    """
    gradients = list(_gradients(model).values())
    norm = _norm(gradients, None)
    return norm if _SAFE[0] < norm < _SAFE[1] else _norm(gradients, torch.float64)


# Squares leave float32 beyond 1.8e19 and lose bits below 1e-19; four orders to spare, since single elements are
# smaller than the norm. In between float32 is enough, and takes 60 ms less per update over 8 million weights.
_SAFE = (1e-15, 1e15)


def _norm(gradients: list[Tensor], dtype: torch.dtype | None) -> float:
    # Parameters may lie on several devices, so the norms meet on the CPU.
    norms = [torch.linalg.vector_norm(g, dtype=dtype).double().cpu() for g in gradients]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0


class NormClipper:
    """Clips the gradient's norm before each optimizer step, and keeps the statistics.

    Algorithm 1: `g ← ∂E/∂θ; if ‖g‖ ≥ threshold: g ← threshold / ‖g‖ · g`, exactly.

    A step whose gradient holds NaN or infinity is skipped and counted; after `patience` of them in a row the clipper
    raises and names the parameters, so that a non-finite gradient never reaches the weights.

    Args:
        model: its parameters' gradients are clipped in place.
        threshold: the largest norm let through; "auto" for the `percentile` of the norms seen so far (AutoClip);
            None to only measure.
        percentile: for "auto", in percent.
        history: for "auto" and the statistics, how many norms are remembered.
        non_finite: "skip" a step, or "raise" at the first.
        patience: how many steps in a row may be skipped before it raises.

    Raises:
        ConfigError: a threshold that is not positive, or another option out of range.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML.
    arXiv:1211.5063. AutoClip: Seetharaman, Wichern, Pardo, Le Roux (2020). arXiv:2007.14469.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> clipper = NormClipper(layer, threshold=1.0)
        >>> layer.weight.grad = torch.tensor([[3.0, 4.0]])
        >>> clipper.step(), layer.weight.grad
        (True, tensor([[0.6000, 0.8000]]))
        >>> clipper.statistics()["clipped_share"]
        1.0
    """

    def __init__(
        self,
        model: nn.Module,
        threshold: float | Literal["auto"] | None = 1.0,
        *,
        percentile: float = 10.0,
        history: int = 1000,
        non_finite: Literal["skip", "raise"] = "skip",
        patience: int = 10,
    ):
        if threshold not in ("auto", None) and not (isinstance(threshold, int | float) and threshold > 0):
            raise ConfigError(f"threshold must be a positive number, 'auto' or None, got {threshold!r}")
        if not 0 < percentile <= 100 or history < 1 or patience < 1 or non_finite not in ("skip", "raise"):
            raise ConfigError(
                "needs 0 < percentile <= 100, history >= 1, patience >= 1 and non_finite 'skip' or 'raise'; "
                f"got {percentile}, {history}, {patience}, {non_finite!r}"
            )
        self.model, self.threshold, self.percentile = model, threshold, percentile
        self.patience = 1 if non_finite == "raise" else patience
        self.norms: deque[float] = deque(maxlen=history)
        self.steps = self.clipped = self.skipped = self._skipped_in_a_row = 0
        self._shrink_sum = 0.0

    def step(self) -> bool:
        """Clips the gradients; true if the optimizer may step, false if this step must be skipped.

        Raises:
            NonFiniteError: `patience` non-finite gradients in a row.
        """
        norm = gradient_norm(self.model)
        self.steps += 1
        # Before it is remembered: one infinite norm would stay in the percentiles of "auto" for the whole history.
        if not math.isfinite(norm):
            self._skip()
            return False
        self._skipped_in_a_row = 0
        self.norms.append(norm)
        limit = self.limit()
        # ">=" as in Algorithm 1. A norm of zero can equal "auto"'s limit, and 0 / 0 is NaN.
        if limit is not None and norm >= limit and norm > 0:
            self._shrink(limit / norm)
        return True

    def limit(self) -> float | None:
        """The threshold in force now."""
        if isinstance(self.threshold, str):
            return _percentile(sorted(self.norms), self.percentile)
        return self.threshold

    def statistics(self) -> dict[str, float]:
        """Counts since the start, and the norms before clipping over the history.

        Keys: `steps`, `clipped_share` (of all steps), `skipped` (non-finite steps), `mean_shrink` (mean factor where
        clipped), `norm_p50`, `norm_p90`, `norm_p99`, `threshold` (in force; NaN if none). NaN where nothing was seen.
        """
        ordered, limit = sorted(self.norms), self.limit() if self.norms else None
        return {
            "steps": self.steps,
            "clipped_share": self.clipped / self.steps if self.steps else math.nan,
            "skipped": self.skipped,
            "mean_shrink": self._shrink_sum / self.clipped if self.clipped else math.nan,
            **{f"norm_p{p}": _percentile(ordered, p) for p in (50, 90, 99)},
            "threshold": math.nan if limit is None else limit,
        }

    def state_dict(self) -> dict[str, Any]:
        """Counts and history as plain numbers and lists, so that JSON can hold them."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        # All that "auto" depends on: a resumed run clips as one that was never killed.
        return {**counts, "norms": list(self.norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        for name in _COUNTS:
            setattr(self, name, state[name])
        self.norms.clear()
        self.norms.extend(state["norms"])

    def _shrink(self, factor: float) -> None:
        self.clipped, self._shrink_sum = self.clipped + 1, self._shrink_sum + factor
        for gradient in _gradients(self.model).values():
            gradient.mul_(factor)

    def _skip(self) -> None:
        self.skipped, self._skipped_in_a_row = self.skipped + 1, self._skipped_in_a_row + 1
        if self._skipped_in_a_row >= self.patience:
            # Looked for only now: it reads every gradient once more.
            bad = [name for name, g in _gradients(self.model).items() if not bool(torch.isfinite(g).all())]
            raise NonFiniteError(
                f"the gradient was NaN or infinite {self._skipped_in_a_row} times in a row (step {self.steps}); it is "
                f"non-finite in {', '.join(bad[:5])}{' and others' if len(bad) > 5 else ''}. The weights were not "
                "touched. Lower the learning rate or the clipping threshold, or look for log(0) and 0/0 in the loss"
            )


_COUNTS = ("steps", "clipped", "skipped", "_skipped_in_a_row", "_shrink_sum")


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _percentile(ordered: list[float], percent: float) -> float:
    """The nearest-rank percentile of sorted numbers."""
    return ordered[max(math.ceil(percent / 100 * len(ordered)) - 1, 0)] if ordered else math.nan
