"""What a run keeps for its gradients, through autograd: it may come back in another form, and its output be changed.

Hooks for saved tensors (`torch.autograd.graph.saved_tensors_hooks`) may return other strides than they were given, and
a user may change the output of a layer in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.errors import ShapeError
from gateflow.recurrence.private_torch import dispatch_modes

__all__ = ["output_has_changed", "resolved", "restored", "save", "traced"]


def save(ctx: Any, inputs: Sequence[Tensor], outputs: list[Tensor]) -> None:
    """Saves inputs and outputs; the first output is the user's, who may change it."""
    ctx.witness = None
    if not traced():
        # The user may change the output in place. Then what was saved is no longer what was computed, and is computed
        # again: a second forward run where that happens, and no copy where it does not.
        ctx.witness, outputs[0] = _witness(outputs[0]), outputs[0].data
    tensors = [*inputs, *outputs]
    # The loops get addresses: float32 in the place of float64 would be read beyond its end.
    ctx.kinds = [(t.shape, t.dtype) for t in tensors]
    ctx.save_for_backward(*tensors)


def output_has_changed(ctx: Any) -> bool:
    """Whether the first output was changed in place since it was saved."""
    return ctx.witness is not None and ctx.witness[0]._version != ctx.witness[1]


def _witness(output: Tensor) -> tuple[Tensor, int]:
    """An empty tensor that counts the changes of `output` with it, holding none of its memory, and the count so far."""
    # `detach` shares the counter of versions; giving it other data keeps the counter and lets the memory go.
    witness = output.detach()
    witness.data = output.new_empty(0)
    return witness, witness._version


def restored(ctx: Any) -> list[Tensor]:
    """What was saved, as the loops read it: hooks for saved tensors may return other strides, and worse."""
    tensors = ctx.saved_tensors
    if not torch.compiler.is_compiling():
        found = [(t.shape, t.dtype) for t in tensors]
        if found != ctx.kinds:
            wrong, wanted = next((f, k) for f, k in zip(found, ctx.kinds, strict=True) if f != k)
            raise ShapeError(
                f"a hook for saved tensors returned {list(wrong[0])} of {wrong[1]} for {list(wanted[0])} of "
                f"{wanted[1]}; it must return what it was given"
            )
        if any(map(Tensor.is_neg, tensors)):
            tensors = [t.resolve_neg() for t in tensors]
        if all(map(Tensor.is_contiguous, tensors)):
            return list(tensors)
    # After input, weights and states: only the input and holds are called with a stride of their own.
    first = sum(ctx.counts[:2]) + 1
    holds = range(first, first + ctx.counts[2])
    return [t if t.is_contiguous() else _lined(t, gaps=k == 0 or k in holds) for k, t in enumerate(tensors)]


def resolved(tensor: Tensor) -> Tensor:
    """With its sign in its numbers, where a loop finds it: `z.conj().imag` has a mark instead. Operators see to it."""
    return tensor if torch.compiler.is_compiling() or not tensor.is_neg() else tensor.resolve_neg()


def _lined(tensor: Tensor, *, gaps: bool) -> Tensor:
    """A tensor as a loop reads it; the input and holds may have gaps between their lines."""
    # A hold of zoneout is one line for all, expanded: `contiguous` would make it as large as a history.
    lined = gaps and tensor.dim() == 2 and (tensor.stride(1) == 1 or tensor.shape[1] == 1)
    return tensor if lined else tensor.contiguous()


def traced() -> bool:
    """Whether this runs for its graph: under `torch.compile`, on fake tensors, in a tracer."""
    # Fake tensors and `make_fx` are modes: they crashed, or recorded nothing, where addresses were taken.
    return torch.compiler.is_compiling() or dispatch_modes() > 0
