"""How far back the gradient reaches: `‖∂E_t/∂s_k‖` for every pair of time steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.flow.adjoint import backward
from gateflow.flow.capture import Loss, Replay, Trace, trace_model, unchanged_buffers
from gateflow.flow.decay import Decay, decay_of, lags
from gateflow.flow.sampling import Sampling, chosen, listed, portions
from gateflow.flow.table import Printable, Share, columns, plain, sparkline

__all__ = ["LayerReach", "Reach", "reach", "reach_of"]


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
        # A layer may have other steps than the loss, so that a target can lie beyond its last step.
        full = torch.full((max(self.norms.shape[1], self.targets[-1] + 1), self.norms.shape[1]), torch.nan)
        full[list(self.targets)] = self.norms.nanmean(-1).float().cpu()
        return full

    def left_at(self, lag: int) -> Share:
        """`ρ(lag)`; NaN if the sequences are not that long."""
        known = lag < len(self.decay.values)
        return Share(float(self.decay.values[lag]) if known else math.nan, self.decay.floor)

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
        return "" if math.isnan(left) else str(left)

    def _line(self) -> str:
        """The decay down to where it was followed, and the lag of its end."""
        end = self.decay.horizon(1.5 * self.decay.floor)
        logs = self.decay.values[: end + 1].clamp(min=1e-30).log10()
        return f"{sparkline(logs.tolist(), -8.0, 0.0)} {end}"


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
        cuts = sorted({step for layer in self.layers.values() for step in layer.cuts})
        table = columns(
            f"Gradient horizon: {self.horizon} steps",
            "horizon: largest lag with 1 % of the gradient left. lag n: what is left there. decay: logarithmic, from 1 "
            f"down to 1e-8, and the lag at which the line ends. {self.sampling}."
            + (
                f" The model detaches the state before {listed(cuts, 'step')}: no gradient passes there."
                if cuts
                else ""
            ),
            *("layer", "steps", "horizon", "half-life", "lag 1", "lag 10", "lag 100", "decay →"),
        )
        for layer in self.layers.values():
            table.add_row(*layer.row(self.sampling.exact))
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

    Cost: mostly one matrix product per step, `[targets · B, G · H] × [G · H, H]`. Measured for an LSTM, `T = 128`,
    `B = 8`, `H = 256`, one thread, in backward passes of gateflow's LSTM (of `torch.nn.LSTM`): 14 (11) with torch's
    initial weights, where targets soon fall below the floor; 26 (18) with `floor=0`, of which that product takes 13 at
    the peak of the machine. Layers below another recurrent layer are always followed to the first step.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML, equations 3
    to 5. arXiv:1211.5063.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = reach(nn.LSTM(3, 8), torch.randn(40, 2, 3))
        >>> result.layers["l0"].matrix.shape, 2 < result.horizon < 20
        (torch.Size([40, 40]), True)
    """
    with unchanged_buffers(model):
        trace = trace_model(model, batch, loss, seed)
        return reach_of(trace, targets=targets, floor=floor, memory_limit=memory_limit, seed=seed)


def reach_of(
    trace: Trace,
    *,
    targets: int | Sequence[int] | None = None,
    floor: float | None = None,
    memory_limit: int | None = None,
    seed: int = 0,
    tick: Callable[[], None] | None = None,
) -> Reach:
    """`reach` from a trace; `tick` is called at each step of a layer, and what it raises ends the measurement."""
    sampling = chosen(trace, targets, seed)
    # The resolution of the type in which the replays are; never
    # coarser than float32's, in which 16-bit models are followed.
    if floor is None:
        floor = min(torch.finfo(trace.replays[0].x.dtype).eps, torch.finfo(torch.float32).eps)
    norms = _Norms(trace, sampling, tick)
    for portion in portions(trace, sampling.targets, memory_limit):
        norms.begin(len(portion))
        backward(trace, portion, norms.visit, floor)
    return Reach({name: norms.layer(name, floor) for name in norms.full}, sampling, trace.loss)


class _Norms:
    """Takes down the norms of a sweep, by time step and not by the order of processing."""

    def __init__(self, trace: Trace, sampling: Sampling, tick: Callable[[], None] | None):
        self.trace, self.sampling, self.tick, self.first, self.after = trace, sampling, tick, 0, 0
        self.replays = trace.sequences
        self.full = {name: self._blank(replays) for name, replays in self.replays.items()}
        self.parts = {name: [self._blank(p) for _ in p[0].cell.states] for name, p in self.replays.items()}

    def begin(self, count: int) -> None:
        """The next `count` targets follow."""
        self.first, self.after = self.after, self.after + count

    def visit(self, replay: Replay, p: int, alive: slice, delta: list[Tensor]) -> Tensor:
        """Called by the sweep."""
        if self.tick is not None:
            self.tick()
        name, norms = replay.title, [torch.linalg.vector_norm(part, dim=-1) for part in delta]
        full = norms[0] if len(norms) == 1 else torch.stack(norms).norm(dim=0)
        where = slice(self.first + alive.start, self.first + alive.stop)
        for kept, norm in zip([self.full[name], *self.parts[name]], [full, *norms], strict=True):
            kept[where, replay.time(p)] = norm
        return full

    def layer(self, name: str, floor: float) -> LayerReach:
        """The finished result of one layer and direction."""
        replays, norms, reverse = self.replays[name], self.full[name], self.replays[name][0].reversed
        at = self._own_steps(name)
        lag, cuts = lags(at, norms.shape[1], reverse), tuple(replay.offset for replay in replays if replay.cut)
        cut = self._apart(at, cuts, norms)
        # A step after the target, from which nothing has come, is no gradient of zero: it cannot matter
        # at all. One from which something has come (by another layer, in the other direction) counts.
        nothing = self._padding(name) | (at < 0)[:, None] | ((lag < 0) & (norms == 0)) | cut
        full, *parts = (torch.where(nothing, torch.nan, kept) for kept in (norms, *self.parts[name]))
        share = len(self.sampling.targets) / self.sampling.among
        decay = decay_of(full, at, reverse, share, floor)
        by_part = dict(zip(replays[0].cell.states, parts, strict=True))
        return LayerReach(name, self.sampling.targets, full, by_part, at, reverse, cuts, cut, decay)

    def _blank(self, replays: list[Replay]) -> Tensor:
        steps = replays[-1].offset + replays[-1].steps
        return replays[0].x.new_zeros(len(self.sampling.targets), steps, replays[0].rows)

    def _apart(self, at: Tensor, cuts: tuple[int, ...], norms: Tensor) -> Tensor:
        """`[n, T, B]`: where a cut lies between step and target, and nothing came round it by another layer."""
        k, apart = torch.arange(norms.shape[1], device=norms.device)[None, :, None], torch.zeros_like(norms) > 0
        for step in cuts:
            apart |= (k < step) & (at[:, None] >= step)
        return apart & (norms == 0)

    def _padding(self, name: str) -> Tensor:
        """`[1, T, B]`: where a row has ended."""
        there = (replay.there().flip(0) if replay.reversed else replay.there() for replay in self.replays[name])
        return ~torch.cat(list(there))[None]

    def _own_steps(self, name: str) -> Tensor:
        """`[n, B]`: the target itself; where a layer has other steps than the loss, the nearest that it reaches."""
        norms, targets = self.full[name], torch.tensor(self.sampling.targets, device=self.full[name].device)
        # A layer that the model runs over fewer steps (after pooling, say) has a clock of its
        # own: there the step of the loss is the one nearest to it that received anything.
        same = norms.shape[1] == self.trace.times
        touched = norms > 0
        k = torch.arange(norms.shape[1], device=norms.device)[None, :, None]
        reverse = self.replays[name][0].reversed
        nearest = torch.where(touched, k, norms.shape[1]).amin(1) if reverse else torch.where(touched, k, -1).amax(1)
        own = targets[:, None].expand_as(nearest) if same else nearest
        there = touched.any(1) & touched.gather(1, own.clamp(0, norms.shape[1] - 1)[:, None])[:, 0]
        return torch.where(there, own, -1)
