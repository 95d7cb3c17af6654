"""How far back the gradient reaches: `‖∂E_t/∂s_k‖` for every pair of time steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gateflow.flow.adjoint.sweep import backward
from gateflow.flow.capture.trace import Loss, trace
from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.norms import Norms
from gateflow.flow.sampling import Sampling, chosen, listed, portions
from gateflow.flow.table import Printable, columns

__all__ = ["LayerReach", "Reach", "reach"]


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
    run = trace(model, batch, loss, seed)
    sampling = chosen(run, targets, seed)
    if floor is None:
        floor = min(torch.finfo(run.passes[0].x.dtype).eps, torch.finfo(torch.float32).eps)
    norms = Norms(run, sampling)
    for portion in portions(run, sampling.targets, memory_limit):
        norms.begin(len(portion))
        backward(run, portion, norms.visit, floor)
    return Reach({name: norms.layer(name, floor) for name in norms.full}, sampling, run.loss)
