"""How far back the gradient reaches to a model's inputs: of any model, whether it has a recurrence or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gateflow.errors import FlowError
from gateflow.flow.by_lag import ByLag
from gateflow.flow.decay import decay_of
from gateflow.flow.reach import LayerReach

__all__ = ["INPUTS", "evenly", "input_reach", "reach_of_norms", "told_by_lag"]

INPUTS = "input embeddings"
# Steps whose loss is followed back: each takes a backward pass of its own through the whole model.
SAMPLED = 32


def input_reach(
    loss_at: Callable[[int], Tensor], inputs: Tensor, at: Tensor, targets: Sequence[int] | None = None
) -> LayerReach:
    """`‖∂E_t/∂v_k‖`, the gradient of the loss of a step `t` with respect to what the model read at a step `k`.

    It is autograd's own, a backward pass for each target. Rows must have nothing to do with each other.

    Args:
        loss_at: ``loss_at(t)``, the loss ``[B]`` of each row at step `t`, computed from `inputs`; its graph is kept.
        inputs: ``[K, B, E]``, what the model has read, such as vectors of words; it needs a gradient.
        at: ``[T, B]``, the step of the inputs at which lag 0 lies for the loss of `t`; -1 where a row has no loss.
        targets: the steps `t` to look at; 32 of them, evenly among all, if left out.

    Raises:
        FlowError: no loss depends on the inputs.

    Example:
        >>> x = torch.randn(5, 2, 3, requires_grad=True)
        >>> y, _ = torch.nn.GRU(3, 4)(x)
        >>> at = torch.arange(5)[:, None].expand(5, 2)
        >>> found = input_reach(lambda t: y[t].square().sum(-1), x, at)
        >>> found.norms.shape, bool(found.norms[0, 1:].isnan().all()), round(found.left_at(0), 6)
        (torch.Size([5, 5, 2]), True, 1.0)
    """
    chosen = evenly(len(at)) if targets is None else tuple(targets)
    norms = []
    for t in chosen:
        (found,) = torch.autograd.grad(loss_at(t).sum(), inputs, retain_graph=True, allow_unused=True)
        norms.append(inputs.new_zeros(inputs.shape[:2]) if found is None else torch.linalg.vector_norm(found, dim=-1))
    return reach_of_norms(torch.stack(norms), at[list(chosen)], chosen, len(at))


def reach_of_norms(norms: Tensor, at: Tensor, targets: Sequence[int], among: int) -> LayerReach:
    """The result of `input_reach`, of norms ``[n, K, B]`` that are there; NaN in them counts for nothing.

    Raises:
        FlowError: all are zero.
    """
    if not bool((norms.nan_to_num() > 0).any()):
        raise FlowError("no gradient of the loss arrives at the inputs: is the loss constant?")
    k = torch.arange(norms.shape[1], device=norms.device)[None, :, None]
    # A step after the target, from which nothing comes, is no gradient of zero: it cannot matter at all.
    nothing = (at < 0)[:, None] | ((k > at[:, None]) & (norms == 0))
    norms = norms.masked_fill(nothing, torch.nan)
    floor = min(torch.finfo(norms.dtype).eps, torch.finfo(torch.float32).eps)
    decay = decay_of(norms, at, False, len(targets) / among, floor)
    return LayerReach(INPUTS, tuple(targets), norms, {}, at, False, (), torch.zeros_like(norms) > 0, decay)


def evenly(count: int) -> tuple[int, ...]:
    """So many targets that all can be followed back, evenly among them; the last is one of them.

    Example:
        >>> evenly(3), len(evenly(100)), evenly(100)[-1]
        ((0, 1, 2), 32, 99)
    """
    number = min(SAMPLED, count)
    return tuple((k + 1) * count // number - 1 for k in range(number))


def told_by_lag(found: LayerReach) -> ByLag:
    """What a report says of it."""
    reading = (
        f"Of the gradient of a step's loss, how much arrives at the vectors that the model has read so many steps "
        f"before, as a share of what arrives at the step's own: a mean over {len(found.targets)} steps and all "
        "sequences. A Transformer and recurrent layers are measured alike."
    )
    # What counts as the floor is nothing that was measured.
    line = found.decay.values.masked_fill(found.decay.values <= 1.01 * found.decay.floor, 0.0)
    unit = "share of the gradient at the step's own input"
    return ByLag("How far the gradient reaches to the inputs", reading, {INPUTS: line}, unit, "log")
