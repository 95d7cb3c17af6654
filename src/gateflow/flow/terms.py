"""Equation (1), term by term: how much of a weight's gradient comes from which distance in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import FlowError
from gateflow.flow.budget import Sampling, chosen, portions
from gateflow.flow.own_gradient import Weights, own_gradients
from gateflow.flow.replay import Pass
from gateflow.flow.sweep import backward
from gateflow.flow.table import Printable, columns, sparkline
from gateflow.flow.trace import Loss, Trace, trace

__all__ = ["LayerTerms", "Terms", "terms"]

_AT_ONCE = 2**24  # numbers in a block of terms


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
        return self._by_lag(self.norms) / self.norms.sum().double().cpu()

    def beyond(self, lag: int) -> float:
        """The part of the sum of norms that comes from farther than `lag` steps."""
        return float(self.norms_by_lag[lag + 1 :].sum())

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        lists = {"norms": self.norms, "shares": self.shares}
        lists |= {"shares_by_lag": self.shares_by_lag, "norms_by_lag": self.norms_by_lag}
        found = {"name": self.name, "weight": self.weight, "error": self.error, "gradient_norm": self.gradient_norm}
        return found | {"targets": list(self.targets)} | {name: tensor.tolist() for name, tensor in lists.items()}

    def _by_lag(self, values: Tensor) -> Tensor:
        return torch.bincount(self.distance.flatten().cpu(), weights=values.flatten().double().cpu())


@dataclass(frozen=True, eq=False)
class Terms(Printable):
    """What `terms` found: per layer and direction, and which targets were looked at."""

    layers: dict[str, LayerTerms]
    sampling: Sampling

    @property
    def error(self) -> float:
        """The largest error of any layer's sum against autograd."""
        return max(layer.error for layer in self.layers.values())

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        return {"error": self.error, "layers": [layer.to_dict() for layer in self.layers.values()]}

    def __rich__(self) -> Any:
        table = columns(
            f"Terms of Equation (1); their sum is autograd's gradient to a relative error of {self.error:.0e}",
            f"share: of the sum of all norms, by distance |t - k|, log10 from 1 down to 1e-8. {self.sampling}.",
            *("layer", "weight", "‖∂E/∂W‖", "beyond lag 1", "10", "100", "share with lag →"),
        )
        for layer in self.layers.values():
            far = [f"{layer.beyond(lag):.0e}" if lag < layer.norms.shape[1] else "" for lag in (1, 10, 100)]
            shares = sparkline(layer.norms_by_lag.clamp(min=1e-30).log10().tolist(), -8.0, 0.0)
            table.add_row(layer.name, layer.weight, f"{layer.gradient_norm:.2e}", *far, shares)
        return table


def terms(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    weight: str = "weight_hh",
    *,
    targets: int | Sequence[int] | None = None,
    memory_limit: int | None = None,
    seed: int = 0,
) -> Terms:
    """The gradient of a recurrent weight as the sum that it is: `∂E/∂W = Σ_t Σ_k G_{t,k}`.

    `G_{t,k} = ∂E_t/∂s_t · ∂s_t/∂s_k · ∂⁺s_k/∂W`, where `∂⁺` holds `s_{k-1}` constant. Each call adds the terms up and
    compares them with autograd's gradient of the model itself; `error` says how far apart they are (rounding: about
    1e-6 in float32, 1e-14 in float64). Weights that are frozen have the terms that they would receive.

    Args:
        model, batch, loss, targets, memory_limit, seed: as for `reach`.
        weight: a weight of the cells, such as `"weight_hh"`, `"weight_ih"`, `"bias_ih"` or `"peephole_forget"`, in all
            layers that have it; or one parameter by its name in the model, such as `"encoder.weight_hh_l0"`.

    Raises:
        FlowError: no recurrent layer has such a weight, or whatever `reach` refuses.
        NonFiniteError: weights or loss are NaN or infinite.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML, equations 3
    to 5. arXiv:1211.5063.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> result = terms(nn.GRU(3, 8), torch.randn(20, 2, 3))
        >>> result.error < 1e-5, result.layers["l0"].norms.shape
        (True, torch.Size([20, 20]))
    """
    run = trace(model, batch, loss, seed)
    sampling = chosen(run, targets, seed)
    whole = own_gradients(model, batch, loss, seed)
    found = _Sums(run, sampling, whole, weight)
    rest = sorted(set(run.targets()) - set(sampling.targets))
    for portion in portions(run, sampling.targets, memory_limit):
        last = portion[-1] == sampling.targets[-1]
        found.begin(len(portion))
        backward(run, portion, found.visit, rest=rest if last else ())
    return Terms(found.layers(), sampling)


class _Sums:
    """Takes down norms and shares of the terms as a sweep makes them, and adds them up."""

    def __init__(self, run: Trace, sampling: Sampling, whole: Weights, weight: str):
        self.run, self.sampling, self.first, self.after = run, sampling, 0, 0
        self.weight = {done.name: _asked(done, weight) for done in run.passes}
        if not any(self.weight.values()):
            have = sorted({name for done in run.passes for name in done.cell._parameters})
            raise FlowError(f"no recurrent layer of the model has a weight {weight!r}; there are {', '.join(have)}")
        self.whole = {layer: whole[layer][name] for layer, name in self.weight.items() if name}
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
        self.shares[done.title][rows, k] = block @ (g.flatten() / g.square().sum())

    def layers(self) -> dict[str, LayerTerms]:
        """The finished results."""
        found: dict[str, LayerTerms] = {}
        for done in self.run.passes:
            if done.title in self.norms:
                g = self.whole[done.name]
                error = ((self.sum[done.name] - g).norm() / g.norm().clamp(min=torch.finfo(g.dtype).tiny)).item()
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
