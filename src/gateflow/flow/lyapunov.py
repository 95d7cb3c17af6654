"""Lyapunov exponents: at which rate the Jacobian product of the full state shrinks or grows, direction by direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import FlowError
from gateflow.flow.adjoint import adjoint_of
from gateflow.flow.capture import Loss, Replay, Trace, trace_model, unchanged_buffers
from gateflow.flow.table import Printable, columns, plain, sparkline

__all__ = ["LayerLyapunov", "Lyapunov", "lyapunov", "lyapunov_of"]


@dataclass(frozen=True, eq=False)
class LayerLyapunov:
    """The spectrum of one layer and direction.

    Attributes:
        name: such as `"encoder.l0"`.
        exponents: `λ_1 ≥ λ_2 ≥ …`, nats per step, mean over the rows of the batch.
        per_row: the same for each row, `[B, count]`; NaN for a row without steps.
        steps: number of Jacobians in the longest product, warm-up left out.
    """

    name: str
    exponents: Tensor
    per_row: Tensor
    steps: int

    @property
    def largest(self) -> float:
        """`λ_1`: below 0 gradients vanish, above 0 they explode on long sequences, whatever the loss."""
        return float(self.exponents[0])

    @property
    def memory(self) -> float:
        """`-1/λ_1`, the steps in which the slowest direction shrinks to 1/e; infinite if it does not shrink."""
        return -1 / self.largest if self.largest < 0 else math.inf

    @property
    def regime(self) -> str:
        """In words; an exponent that changes a product of this length by less than a factor e tells nothing."""
        if abs(self.largest) * self.steps < 1:
            return "neither over this length"
        return "vanishing" if self.largest < 0 else "exploding"

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON; an infinite memory is None."""
        found = {"name": self.name, "exponents": plain(self.exponents), "steps": self.steps, "regime": self.regime}
        return found | {"memory": plain(self.memory)}


@dataclass(frozen=True, eq=False)
class Lyapunov(Printable):
    """What `lyapunov` found, per layer and direction."""

    layers: dict[str, LayerLyapunov]

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        return {"layers": [layer.to_dict() for layer in self.layers.values()]}

    def __rich__(self) -> Any:
        table = columns(
            "Lyapunov exponents of the full state",
            "per step; vanishing < 0 < exploding; spectrum drawn from -2 to 0.5",
            *("layer", "largest", "memory (steps)", "regime", "spectrum →"),
        )
        for layer in self.layers.values():
            memory = f"{layer.memory:.1f}" if math.isfinite(layer.memory) else "∞"
            spectrum = sparkline(layer.exponents.tolist(), -2.0, 0.5)
            table.add_row(layer.name, f"{layer.largest:+.4f}", memory, layer.regime, spectrum)
        return table


def lyapunov(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    count: int = 8,
    warm_up: int | None = None,
    freeze: Sequence[str] = (),
    seed: int = 0,
) -> Lyapunov:
    """The Lyapunov spectrum of each recurrent layer along the batch, on the full state (`h` and `c` for an LSTM).

    `Q_k R_k = J_kᵀ Q_{k+1}` from the last step to the first, `λ_i = 1/T Σ_k log |R_k[i, i]|`: the rates of the very
    product that back-propagation forms, in its order, orthonormal again after every step.

    Args:
        model, batch, loss, seed: as for `reach`; the loss only says how to run the model.
        count: how many exponents, the largest first; at most the size of the full state.
        warm_up: how many Jacobians turn the directions before any counts; a tenth of the steps by default.
        freeze: parts of the state whose derivative is left out, for comparison: an LSTM with `c` frozen, as code for
            plain networks takes it, has an exponent of about -2 whatever its forget gates do.

    Raises:
        FlowError: what `reach` refuses, or a part of the state that a layer does not have.
        NonFiniteError: weights are NaN or infinite.

    Source: Benettin, Galgani, Giorgilli, Strelcyn (1980). Lyapunov characteristic exponents. Meccanica 15. For
    recurrent networks: Engelken, Wolf, Abbott (2023). Lyapunov spectra of chaotic recurrent neural networks. Physical
    Review Research 5. arXiv:2006.02427.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> lyapunov(nn.LSTM(3, 8), torch.randn(60, 2, 3)).layers["l0"].regime
        'vanishing'
    """
    with unchanged_buffers(model):
        trace = trace_model(model, batch, loss, seed)
        return lyapunov_of(trace, count=count, warm_up=warm_up, freeze=freeze, seed=seed)


@torch.no_grad()
def lyapunov_of(
    trace: Trace, *, count: int = 8, warm_up: int | None = None, freeze: Sequence[str] = (), seed: int = 0
) -> Lyapunov:
    """`lyapunov` from a trace."""
    found = {title: _spectrum(replays, count, warm_up, freeze, seed) for title, replays in trace.sequences.items()}
    return Lyapunov(found)


def _spectrum(
    replays: list[Replay], count: int, warm_up: int | None, freeze: Sequence[str], seed: int
) -> LayerLyapunov:
    first, steps = replays[0], sum(replay.steps for replay in replays)
    wanted = [name not in freeze for name in first.cell.states]
    if set(freeze) - set(first.cell.states) or not any(wanted):
        raise FlowError(f"{first.name}: freeze={tuple(freeze)}, and the state's parts are {first.cell.states}")
    free = [part.shape[-1] for part, keep in zip(first.states, wanted, strict=True) if keep]
    # The directions begin at random and turn into those of the product within some steps; a tenth leaves
    # most of a short sequence to be counted. One Jacobian at least has to count, whatever was asked for.
    count, warm_up = max(1, min(count, sum(free))), steps // 10 if warm_up is None else min(warm_up, steps - 1)
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(first.rows, sum(free), count, generator=generator, dtype=torch.float64).to(first.x)
    q, logs, counted = torch.linalg.qr(q)[0], q.new_zeros(first.rows, count), q.new_zeros(first.rows, 1)
    # Truncated windows are one sequence here: exponents are
    # about the Jacobians, whether a gradient was sent or not.
    places = [(replay, p) for replay in reversed(replays) for p in reversed(range(replay.steps))]
    for k, (replay, p) in enumerate(places):
        moved = _one_back(replay, p, q, wanted)
        there = replay.there()[p][:, None]
        # A row that has ended keeps its directions, and its factors are not counted.
        q = torch.where(there[..., None], moved, q)
        q, r = torch.linalg.qr(q)
        if k >= warm_up:
            logs += torch.where(there, r.diagonal(dim1=-2, dim2=-1).abs().log(), 0.0)
            counted += there
    # Sorted per row before the mean: a QR decomposition puts the directions in order only in the limit.
    per_row = (logs / counted).sort(dim=1, descending=True).values.double().cpu()
    return LayerLyapunov(first.title, per_row.nanmean(0), per_row, steps - warm_up)


def _one_back(replay: Replay, p: int, q: Tensor, wanted: list[bool]) -> Tensor:
    """`J_kᵀ Q` for the columns of `q [B, size, count]`; parts that are not wanted stay out."""
    sizes = [part.shape[-1] for part in replay.states]
    given = iter(q.permute(2, 0, 1).split([s for s, keep in zip(sizes, wanted, strict=True) if keep], dim=-1))
    blank = [q.new_zeros(q.shape[-1], replay.rows, size) for size in sizes]
    g = [next(given).contiguous() if keep else zero for zero, keep in zip(blank, wanted, strict=True)]
    out = [torch.empty_like(part) for part in g]
    adjoint_of(replay).back(slice(p * replay.rows, (p + 1) * replay.rows), g, out, False)
    return torch.cat([part for part, keep in zip(out, wanted, strict=True) if keep], dim=-1).permute(1, 2, 0)
