"""Takes down what a sweep sees, by layer and time step, and makes results of it."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.flow.capture.replay import Pass
from gateflow.flow.capture.trace import Trace
from gateflow.flow.decay import decay_of, lags
from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.sampling import Sampling

__all__ = ["Norms"]


class Norms:
    """Takes down the norms of a sweep, by time step and not by the order of processing."""

    def __init__(self, run: Trace, sampling: Sampling):
        self.run, self.sampling, self.first, self.after = run, sampling, 0, 0
        self.passes = run.sequences
        self.full = {name: self._blank(passes) for name, passes in self.passes.items()}
        self.parts = {name: [self._blank(p) for _ in p[0].cell.states] for name, p in self.passes.items()}

    def begin(self, count: int) -> None:
        """The next `count` targets follow."""
        self.first, self.after = self.after, self.after + count

    def visit(self, done: Pass, p: int, alive: slice, delta: list[Tensor]) -> Tensor:
        """Called by the sweep."""
        name, norms = done.title, [torch.linalg.vector_norm(part, dim=-1) for part in delta]
        full = norms[0] if len(norms) == 1 else torch.stack(norms).norm(dim=0)
        where = slice(self.first + alive.start, self.first + alive.stop)
        for kept, norm in zip([self.full[name], *self.parts[name]], [full, *norms], strict=True):
            kept[where, done.time(p)] = norm
        return full

    def layer(self, name: str, floor: float) -> LayerReach:
        """The finished result of one layer and direction."""
        passes, norms, reverse = self.passes[name], self.full[name], self.passes[name][0].reversed
        at = self._own_steps(name)
        lag, cuts = lags(at, norms.shape[1], reverse), tuple(done.offset for done in passes if done.cut)
        cut = self._apart(at, cuts, norms)
        nothing = self._padding(name) | (at < 0)[:, None] | ((lag < 0) & (norms == 0)) | cut
        full, *parts = (torch.where(nothing, torch.nan, kept) for kept in (norms, *self.parts[name]))
        share = len(self.sampling.targets) / self.sampling.among
        decay = decay_of(full, at, reverse, share, floor)
        by_part = dict(zip(passes[0].cell.states, parts, strict=True))
        return LayerReach(name, self.sampling.targets, full, by_part, at, reverse, cuts, cut, decay)

    def _blank(self, passes: list[Pass]) -> Tensor:
        steps = passes[-1].offset + passes[-1].steps
        return passes[0].x.new_zeros(len(self.sampling.targets), steps, passes[0].rows)

    def _apart(self, at: Tensor, cuts: tuple[int, ...], norms: Tensor) -> Tensor:
        """`[n, T, B]`: where a cut lies between step and target, and nothing came round it by another layer."""
        k, apart = torch.arange(norms.shape[1], device=norms.device)[None, :, None], torch.zeros_like(norms) > 0
        for step in cuts:
            apart |= (k < step) & (at[:, None] >= step)
        return apart & (norms == 0)

    def _padding(self, name: str) -> Tensor:
        """`[1, T, B]`: where a row has ended."""
        there = (done.there().flip(0) if done.reversed else done.there() for done in self.passes[name])
        return ~torch.cat(list(there))[None]

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
