"""Equation (1), term by term: how much of a weight's gradient comes from which distance in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gateflow.flow.adjoint.reference_gradient import own_gradients
from gateflow.flow.adjoint.sweep import backward
from gateflow.flow.capture.trace import Loss, trace
from gateflow.flow.layer_terms import LayerTerms
from gateflow.flow.sampling import Sampling, chosen, portions
from gateflow.flow.sums import Sums
from gateflow.flow.table import Printable, columns

__all__ = ["LayerTerms", "Terms", "terms"]


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
    run = trace(model, batch, loss, seed)
    sampling = chosen(run, targets, seed)
    whole = own_gradients(model, batch, loss, seed)
    found = Sums(run, sampling, whole, weight)
    rest = sorted(set(run.targets()) - set(sampling.targets))
    for portion in portions(run, sampling.targets, memory_limit):
        last = portion[-1] == sampling.targets[-1]
        found.begin(len(portion))
        backward(run, portion, found.visit, rest=rest if last else ())
    return Terms(found.layers(), sampling)
