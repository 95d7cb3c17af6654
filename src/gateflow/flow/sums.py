"""Makes the terms of Equation (1) as a sweep goes by, takes down their norms and shares, and adds them up."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.errors import FlowError
from gateflow.flow.adjoint.reference_gradient import Weights
from gateflow.flow.capture.replay import Pass
from gateflow.flow.capture.trace import Trace
from gateflow.flow.layer_terms import LayerTerms
from gateflow.flow.sampling import Sampling

__all__ = ["Sums"]

_AT_ONCE = 2**24  # numbers in a block of terms
_TINY = torch.finfo(torch.float32).tiny


class Sums:
    """Takes down norms and shares of the terms as a sweep makes them, and adds them up."""

    def __init__(self, run: Trace, sampling: Sampling, whole: Weights, weight: str):
        self.run, self.sampling, self.first, self.after = run, sampling, 0, 0
        self.weight = {done.name: _asked(done, weight) for done in run.passes}
        if not any(self.weight.values()):
            have = sorted({name for done in run.passes for name in done.cell._parameters})
            raise FlowError(f"no recurrent layer of the model has a weight {weight!r}; there are {', '.join(have)}")
        dtype = run.passes[0].x.dtype
        self.whole = {layer: whole[layer][name].to(dtype) for layer, name in self.weight.items() if name}
        self.sum = {layer: torch.zeros_like(g) for layer, g in self.whole.items()}
        lengths = {done.title: done.offset + done.steps for done in run.passes if self.weight[done.name]}
        n = len(sampling.targets)
        self.norms = {title: run.passes[0].x.new_zeros(n, steps) for title, steps in lengths.items()}
        self.shares = {title: torch.zeros_like(norms) for title, norms in self.norms.items()}

    def begin(self, count: int) -> None:
        """The next `count` targets follow, and after them the rest as one."""
        self.first, self.after = self.after, self.after + count

    def visit(self, done: Pass, p: int, alive: slice, delta: list[Tensor]) -> None:
        """Called by the sweep."""
        name = self.weight[done.name]
        if not name:
            return
        at_once = max(1, _AT_ONCE // self.whole[done.name].numel())
        for low in range(alive.start, alive.stop, at_once):
            high = min(low + at_once, alive.stop)
            block = _terms(done, p, name, [part[low - alive.start : high - alive.start] for part in delta])
            self._take(done, done.time(p), self.first + low, block)

    def _take(self, done: Pass, k: int, first: int, block: Tensor) -> None:
        g = self.whole[done.name]
        self.sum[done.name] += block.sum(0)
        block = block[: max(0, self.after - first)].flatten(1)
        rows = slice(first, first + len(block))
        self.norms[done.title][rows, k] = block.norm(dim=1)
        self.shares[done.title][rows, k] = block @ (g.flatten() / g.square().sum().clamp(min=_TINY))

    def layers(self) -> dict[str, LayerTerms]:
        """The finished results."""
        found: dict[str, LayerTerms] = {}
        for done in self.run.passes:
            if done.title in self.norms:
                g = self.whole[done.name]
                error = ((self.sum[done.name] - g).norm() / g.norm().clamp(min=_TINY)).item()
                both = self.norms[done.title], self.shares[done.title]
                what = done.title, self.weight[done.name], self.sampling.targets
                found[done.title] = LayerTerms(*what, *both, g.norm().item(), error)
        return found


@torch.enable_grad()
def _terms(done: Pass, p: int, name: str, delta: list[Tensor]) -> Tensor:
    """`G_{t,k}` for all targets of a block at processing step `p`: `[m, *W.shape]`."""
    weights = {n: w.detach() for n, w in done.cell._parameters.items() if w is not None}
    weights[name].requires_grad_()
    rows = slice(p * done.rows, (p + 1) * done.rows)
    x, states = done.before(rows)
    new = done.advance(done.cell.over(weights).bind(), x.detach(), tuple(s.detach() for s in states), rows)
    used = [(part, d) for part, d in zip(new, delta, strict=True) if part.requires_grad]
    outputs, blocks = zip(*used, strict=True)
    (block,) = torch.autograd.grad(outputs, weights[name], blocks, is_grads_batched=True, materialize_grads=True)
    return block


def _asked(done: Pass, weight: str) -> str:
    """The name of the cell's weight that was asked for; empty if it has none."""
    module, _, layer = done.name.rpartition(".")
    for name, tensor in done.cell._parameters.items():
        full = {f"{module}.{name}_{layer}".lstrip("."), f"{done.name}.{name}", name}
        if tensor is not None and weight in full:
            return name
    return ""
