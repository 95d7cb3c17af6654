"""Equation (1), term by term: how much of a weight's gradient comes from which distance in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import FlowError, among
from gateflow.flow.adjoint import ReferenceGradients, backward, reference_gradients
from gateflow.flow.capture import Loss, Replay, Trace, trace_model, unchanged_buffers
from gateflow.flow.sampling import Sampling, chosen, portions
from gateflow.flow.table import Printable, columns, plain, sparkline

__all__ = ["LayerTerms", "Terms", "terms", "terms_of"]

# Numbers in a block of terms: 64 MB in float32. Each term has the size of its weight,
# so that all targets of a step at once would not fit into memory for a wide layer.
_AT_ONCE = 2**24
# In place of a zero that is divided by: a gradient that
# is exactly zero has terms of zero, and shares of zero.
_TINY = torch.finfo(torch.float32).tiny


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
        return lengths / lengths.sum().clamp(min=1e-300)  # in float64, where that is no subnormal number

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
            table.add_row(*layer.row())
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
        >>> import torch
        >>> result = terms(nn.GRU(3, 8), torch.randn(20, 2, 3))
        >>> result.error < 1e-5, result.layers["l0"].norms.shape
        (True, torch.Size([20, 20]))
    """
    with unchanged_buffers(model):
        trace = trace_model(model, batch, loss, seed)
        reference = reference_gradients(model, batch, loss, seed)
        return terms_of(trace, reference, weight, targets=targets, memory_limit=memory_limit, seed=seed)


def terms_of(
    trace: Trace,
    reference: ReferenceGradients,
    weight: str = "weight_hh",
    *,
    targets: int | Sequence[int] | None = None,
    memory_limit: int | None = None,
    seed: int = 0,
) -> Terms:
    """`terms` from a trace, and what they have to add up to."""
    sampling = chosen(trace, targets, seed)
    found = _Sums(trace, sampling, reference, weight)
    rest = sorted(set(trace.targets()) - set(sampling.targets))
    for portion in portions(trace, sampling.targets, memory_limit):
        # The rest goes with the last portion, once: the sum has to
        # be whole, or it could not be compared with autograd's.
        last = portion[-1] == sampling.targets[-1]
        found.begin(len(portion))
        backward(trace, portion, found.visit, rest=rest if last else ())
    return Terms(found.layers(), sampling)


class _Sums:
    """Takes down norms and shares of the terms as a sweep makes them, and adds them up."""

    def __init__(self, trace: Trace, sampling: Sampling, reference: ReferenceGradients, weight: str):
        self.trace, self.sampling, self.first, self.after = trace, sampling, 0, 0
        self.weight = {replay.name: _asked(replay, weight) for replay in trace.replays}
        if not any(self.weight.values()):
            have = sorted({name for replay in trace.replays for name in replay.cell._parameters})
            raise FlowError(f"no recurrent layer of the model has a weight {weight!r}; {among(weight, have)}")
        dtype = trace.replays[0].x.dtype
        self.whole = {layer: reference.layers[layer][name].to(dtype) for layer, name in self.weight.items() if name}
        self.sum = {layer: torch.zeros_like(g) for layer, g in self.whole.items()}
        lengths = {replay.title: replay.offset + replay.steps for replay in trace.replays if self.weight[replay.name]}
        n = len(sampling.targets)
        self.norms = {title: trace.replays[0].x.new_zeros(n, steps) for title, steps in lengths.items()}
        self.shares = {title: torch.zeros_like(norms) for title, norms in self.norms.items()}

    def begin(self, count: int) -> None:
        """The next `count` targets follow, and after them the rest as one."""
        self.first, self.after = self.after, self.after + count

    def visit(self, replay: Replay, p: int, alive: slice, delta: list[Tensor]) -> None:
        """Called by the sweep."""
        name = self.weight[replay.name]
        if not name:
            return
        at_once = max(1, _AT_ONCE // self.whole[replay.name].numel())
        for low in range(alive.start, alive.stop, at_once):
            high = min(low + at_once, alive.stop)
            block = _terms(replay, p, name, [part[low - alive.start : high - alive.start] for part in delta])
            self._take(replay, replay.time(p), self.first + low, block)

    def _take(self, replay: Replay, k: int, first: int, block: Tensor) -> None:
        g = self.whole[replay.name]
        self.sum[replay.name] += block.sum(0)
        # Added up above with the rest; norms and shares are of the targets only.
        block = block[: max(0, self.after - first)].flatten(1)
        rows = slice(first, first + len(block))
        self.norms[replay.title][rows, k] = block.norm(dim=1)
        # `⟨G, g⟩ / ‖g‖²` as a product of a matrix and a vector.
        self.shares[replay.title][rows, k] = block @ (g.flatten() / g.square().sum().clamp(min=_TINY))

    def layers(self) -> dict[str, LayerTerms]:
        """The finished results."""
        found: dict[str, LayerTerms] = {}
        for replay in self.trace.replays:
            if replay.title in self.norms:
                g = self.whole[replay.name]
                error = ((self.sum[replay.name] - g).norm() / g.norm().clamp(min=_TINY)).item()
                both = self.norms[replay.title], self.shares[replay.title]
                what = replay.title, self.weight[replay.name], self.sampling.targets
                found[replay.title] = LayerTerms(*what, *both, g.norm().item(), error)
        return found


@torch.enable_grad()
def _terms(replay: Replay, p: int, name: str, delta: list[Tensor]) -> Tensor:
    """`G_{t,k}` for all targets of a block at processing step `p`: `[m, *W.shape]`."""
    weights = {n: w.detach() for n, w in replay.cell._parameters.items() if w is not None}
    weights[name].requires_grad_()
    rows = slice(p * replay.rows, (p + 1) * replay.rows)
    x, states = replay.previous(rows)
    new = replay.advance(replay.cell.over(weights).bind(), x.detach(), tuple(s.detach() for s in states), rows)
    # A part of the state may not depend on this weight at all, and autograd refuses such an output.
    used = [(part, d) for part, d in zip(new, delta, strict=True) if part.requires_grad]
    outputs, blocks = zip(*used, strict=True)
    (block,) = torch.autograd.grad(outputs, weights[name], blocks, is_grads_batched=True, materialize_grads=True)
    return block


def _asked(replay: Replay, weight: str) -> str:
    """The name of the cell's weight that was asked for; empty if it has none."""
    module, _, layer = replay.name.rpartition(".")
    for name, tensor in replay.cell._parameters.items():
        full = {f"{module}.{name}_{layer}".lstrip("."), f"{replay.name}.{name}", name}
        if tensor is not None and weight in full:
            return name
    return ""
