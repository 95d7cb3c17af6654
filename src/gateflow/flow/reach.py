"""How far back the gradient reaches: `‖∂E_t/∂s_k‖` for every pair of time steps."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.flow.budget import Sampling, chosen, portions
from gateflow.flow.decay import Decay, decay_of, lags
from gateflow.flow.replay import Pass
from gateflow.flow.sweep import backward, full_norm
from gateflow.flow.table import Printable, columns, sparkline
from gateflow.flow.trace import Loss, Trace, trace

__all__ = ["LayerReach", "Reach", "reach"]


@dataclass(frozen=True, eq=False)
class LayerReach:
    """Reach in one layer and direction.

    Attributes:
        name: such as `"encoder.l0_reverse"`.
        targets: time steps `t` looked at, `n` of them.
        norms: `‖∂E_t/∂s_k‖` over the full state, `[n, T, B]`. NaN where there is nothing to count: padding, no loss at
            `t` in that row, `k` behind `t` (where it cannot matter), or cut off by truncation.
        parts: the same for each part of the state alone, such as `h` and `c`.
        at: `[n, B]`, the step at which the loss of `t` is nearest; `t` itself, or -1 for none.
        reversed: whether the layer reads from the end, so that its past lies at later steps.
        cuts: steps before which the model detached the state (truncated back-propagation).
        decay: `ρ(ℓ)`, how the norm over the full state falls with the lag.
    """

    name: str
    targets: tuple[int, ...]
    norms: Tensor
    parts: dict[str, Tensor]
    at: Tensor
    reversed: bool
    cuts: tuple[int, ...]
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

    @functools.cached_property
    def cut(self) -> Tensor:
        """`[n, T, B]`: pairs between which the model detached the state. Not vanished: never sent."""
        lag, apart = lags(self.at, self.norms.shape[1], self.reversed), torch.zeros_like(self.norms, dtype=torch.bool)
        k = torch.arange(self.norms.shape[1], device=self.at.device)[None, :, None]
        for step in self.cuts:
            apart |= (lag > 0) & (k < step) & (self.at[:, None] >= step)
        return apart & self.norms.isnan()

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
            "half_life": _number(self.decay.half_life),
            "decay": [_number(v) for v in self.decay.values.tolist()],
            "decay_error": [_number(v) for v in self.decay.errors.tolist()],
            "reversed": self.reversed,
            "cuts": list(self.cuts),
            "targets": list(self.targets),
            "matrix": [[_number(v) for v in row] for row in self.matrix.tolist()],
        }


@dataclass(frozen=True, eq=False)
class Reach(Printable):
    """What `reach` found.

    Attributes:
        layers: by name, in the order in which the model ran them.
        sampling: which targets were looked at.
        loss: the loss on the batch.
    """

    layers: dict[str, LayerReach]
    sampling: Sampling
    loss: float

    @property
    def horizon(self) -> int:
        """The farthest horizon of any layer and direction."""
        return max(layer.horizon for layer in self.layers.values())

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        found = {"horizon": self.horizon, "loss": self.loss, "exact": self.sampling.exact}
        return found | {"layers": [layer.to_dict() for layer in self.layers.values()]}

    def __rich__(self) -> Any:
        table = columns(
            f"Gradient horizon: {self.horizon} steps",
            f"horizon: largest lag with 1 % of the gradient left; decay: log10 from 1 down to 1e-8. {self.sampling}.",
            *("layer", "steps", "horizon", "half-life", "lag 1", "lag 10", "lag 100", "decay with lag →"),
        )
        for layer in self.layers.values():
            table.add_row(layer.name, *_figures(layer, self.sampling.exact), _decay_line(layer))
            if layer.cuts:
                steps = ", ".join(map(str, layer.cuts[:6])) + (" …" if len(layer.cuts) > 6 else "")
                table.add_row(f"  gradient cut (detached) before step {steps}")
        return table


def reach(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    targets: int | Sequence[int] | None = None,
    floor: float | None = None,
    memory_limit: int | None = None,
    seed: int = 0,
) -> Reach:
    """How far back the gradient of each time step's loss reaches, in every recurrent layer of a model.

    `R[t, k] = ‖∂E_t/∂s_k‖`, with `∂E_t/∂s_k = ∂E_t/∂s_t · Π_{j=k+1..t} ∂s_j/∂s_{j-1}` and everything above the layer
    counted in. `E_t` is the part of the loss that enters the recurrent layers at step `t`, so the ordinary training
    loss will do: summed or averaged over steps, per step, or at the last step alone. `s` is the full state, for an LSTM
    `h` and `c` as they are handed to the next step.

    Args:
        model: any module whose recurrent layers are gateflow's, `torch.nn.RNN`, `GRU` or `LSTM`, or cells of either
            called as modules in a loop. It runs once, as it stands; its weights, gradients and random state stay.
        batch: what `loss` takes; without a loss the model's input: a tensor, a tuple or dictionary of arguments, or a
            `PackedSequence`.
        loss: `loss(model, batch)`, a tensor of floats. Without it the model's first output, in random directions.
        targets: the steps `t` to look at, or how many to sample. All by default; beyond 512 a sample of 128, with
            the error it leaves in `decay.errors`.
        floor: a target is followed back until all its rows have fallen below this share of their norm, and counts as
            zero from there. By default the resolution of the numbers (1.2e-7 in float32): what is smaller no longer
            changes the sum that a weight receives. 0 follows it to the first step.
        memory_limit: bytes; half of what is free by default.
        seed: for random directions and sampling.

    Raises:
        FlowError: nothing to measure (no recurrent layer, one step, only padding, a loss that does not depend on the
            layers), a replay that differs from the model's own run, or a batch too big for the memory.
        NonFiniteError: weights or loss are NaN or infinite.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML, equations 3
    to 5. arXiv:1211.5063.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = reach(nn.LSTM(3, 8), torch.randn(40, 2, 3))
        >>> result.layers["l0"].matrix.shape, 2 < result.horizon < 20
        (torch.Size([40, 40]), True)
    """
    run = trace(model, batch, loss, seed)
    sampling = chosen(run, targets, seed)
    floor = torch.finfo(run.passes[0].x.dtype).eps if floor is None else floor
    norms = _Norms(run, sampling)
    for portion in portions(run, sampling.targets, memory_limit):
        norms.begin(len(portion))
        backward(run, portion, norms.visit, floor)
    return Reach({name: norms.layer(name, floor) for name in norms.full}, sampling, run.loss)


class _Norms:
    """Takes down the norms of a sweep, by time step and not by the order of processing."""

    def __init__(self, run: Trace, sampling: Sampling):
        self.run, self.sampling, self.first, self.after = run, sampling, 0, 0
        self.passes: dict[str, list[Pass]] = {}
        for done in run.passes:
            self.passes.setdefault(_title(done), []).append(done)
        self.full = {name: self._blank(passes) for name, passes in self.passes.items()}
        self.parts = {name: [self._blank(p) for _ in p[0].cell.states] for name, p in self.passes.items()}

    def begin(self, count: int) -> None:
        """The next `count` targets follow."""
        self.first, self.after = self.after, self.after + count

    def visit(self, done: Pass, p: int, alive: slice, delta: list[Tensor]) -> Tensor:
        name, norms = _title(done), [torch.linalg.vector_norm(part, dim=-1) for part in delta]
        full = norms[0] if len(norms) == 1 else torch.stack(norms).norm(dim=0)
        where = slice(self.first + alive.start, self.first + alive.stop)
        for kept, norm in zip([self.full[name], *self.parts[name]], [full, *norms], strict=True):
            self._put(kept[where], done, p, norm)
        return full

    def layer(self, name: str, floor: float) -> LayerReach:
        """The finished result of one layer and direction."""
        passes, norms, sampling = self.passes[name], self.full[name], self.sampling
        at, reverse = self._own_steps(name), passes[0].reversed
        lag = lags(at, norms.shape[1], reverse)
        nothing = self._padding(name) | (at < 0)[:, None] | ((lag < 0) & (norms == 0))
        cuts = tuple(done.offset for done in passes if done.cut)
        k = torch.arange(norms.shape[1], device=norms.device)[None, :, None]
        for step in cuts:
            nothing |= (k < step) & (at[:, None] >= step) & (norms == 0)
        seen = {part: _where(nothing, n) for part, n in zip(passes[0].cell.states, self.parts[name], strict=True)}
        full = _where(nothing, norms)
        share = len(sampling.targets) / sampling.among
        return LayerReach(
            name, sampling.targets, full, seen, at, reverse, cuts, decay_of(full, at, reverse, share, floor)
        )

    def _blank(self, passes: list[Pass]) -> Tensor:
        steps = passes[-1].offset + passes[-1].steps
        return passes[0].x.new_zeros(len(self.sampling.targets), steps, passes[0].rows)

    def _put(self, kept: Tensor, done: Pass, p: int, norm: Tensor) -> None:
        if done.lengths is None:
            kept[:, done.offset + (done.steps - 1 - p if done.reversed else p)] = norm
            return
        time = done.times()[p]
        b = (time >= 0).nonzero()[:, 0]
        kept[:, time[b], b] = norm[:, b]

    def _padding(self, name: str) -> Tensor:
        """`[1, T, B]`: where a row has ended."""
        return torch.cat([~done.valid() for done in self.passes[name]])[None]

    def _own_steps(self, name: str) -> Tensor:
        """`[n, B]`: the target itself; where a layer has other steps than the loss, the nearest that it reaches."""
        norms, targets = self.full[name], torch.tensor(self.sampling.targets, device=self.full[name].device)
        same = norms.shape[1] == self.run.times
        touched = norms > 0
        k = torch.arange(norms.shape[1], device=norms.device)[None, :, None]
        reverse = self.passes[name][0].reversed
        nearest = torch.where(touched, k, norms.shape[1]).amin(1) if reverse else torch.where(touched, k, -1).amax(1)
        own = targets[:, None].expand_as(nearest) if same else nearest
        there = touched.any(1) & touched.gather(1, own.clamp(0, norms.shape[1] - 1)[:, None])[:, 0]
        return torch.where(there, own, -1)


def _title(done: Pass) -> str:
    return done.name if done.sequence == 0 else f"{done.name} (call {done.sequence + 1})"


def _where(nothing: Tensor, norms: Tensor) -> Tensor:
    return torch.where(nothing, torch.nan, norms)


def _number(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
