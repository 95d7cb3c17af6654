"""The native path as operators of torch: what autograd, fake tensors and `torch.compile` see of it.

    gateflow::recurrence            input, weights, start states  →  histories, final states, what the way back needs
    gateflow::recurrence_backward   their gradients

A kernel is named by its number. Derivatives of derivatives (`create_graph=True`) come from the reference loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.compiler import kernel_numbered
from gateflow.recurrence import reference
from gateflow.recurrence.native import Sequences

__all__ = ["recurrence"]

_FAST, _LEAN, _NOTHING = "fast", "lean", "nothing"


@torch.library.custom_op("gateflow::recurrence", mutates_args=())
def recurrence(
    kernel: int,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
    memory: str,
) -> list[Tensor]:
    """Runs a kernel over sequences; see `native.Sequences`.

    Args:
        kernel: its number.
        x, states, holds, offsets, reverse, rounded: as `Sequences` takes them.
        weights: in the order of the cell's parameters.
        memory: what is kept for the way back: "fast" all it needs, "lean" the states alone, "nothing".

    Returns:
        For each part of the state its history, then for each its final value, then what is kept ("fast" alone).
    """
    run = _sequences(kernel, x, weights, states, holds, offsets, reverse, rounded)
    with torch.autocast("cpu", enabled=False):
        histories, finals, saved = run.forward(keep=memory == _FAST)
    return [*histories, *finals, *([] if saved is None else [saved])]


@recurrence.register_fake
def _(
    kernel: int,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
    memory: str,
) -> list[Tensor]:
    histories = [x.new_empty(x.shape[0], s.shape[1]) for s in states]
    saved = [x.new_empty(x.shape[0], _saved_columns(kernel, states, x))] if memory == _FAST else []
    return [*histories, *(torch.empty_like(s) for s in states), *saved]


@torch.library.custom_op("gateflow::recurrence_backward", mutates_args=())
def recurrence_backward(
    kernel: int,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
    histories: Sequence[Tensor],
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Gradients of the input, the weights and the start states; empty where not `wanted` (input, weights)."""
    run = _sequences(kernel, x, weights, states, holds, offsets, reverse, rounded)
    run.histories = list(histories)
    names = list(run.weights)
    chosen = frozenset(n for n, w in zip(names, wanted[1:], strict=True) if w)
    with torch.autocast("cpu", enabled=False):
        gradients = run.backward(saved, d_output, d_finals, chosen, d_x=wanted[0])
    d_x = x.new_empty(0) if gradients.x is None else gradients.x
    return [d_x, *(gradients.weights.get(n, x.new_empty(0)) for n in names), *gradients.states]


@recurrence_backward.register_fake
def _(
    kernel: int,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
    histories: Sequence[Tensor],
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    inputs = [torch.empty_like(t) if w else x.new_empty(0) for t, w in zip([x, *weights], wanted, strict=True)]
    return [*inputs, *(torch.empty_like(s) for s in states)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    kernel, x, weights, states, holds, offsets, reverse, rounded, memory = inputs
    ctx.set_materialize_grads(False)
    ctx.call, ctx.memory = (kernel, reverse, rounded), memory
    ctx.counts = [len(weights), len(states), len(holds), offsets is not None, memory == _FAST]
    kept = [*output[: len(states)], *output[2 * len(states) :]]
    ctx.save_for_backward(x, *weights, *states, *holds, *([] if offsets is None else [offsets]), *kept)


def _backward(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    (kernel, reverse, rounded), (n_weights, n_states, n_holds, ragged, kept) = ctx.call, ctx.counts
    rest = iter(ctx.saved_tensors)
    x = next(rest)
    weights, states, holds = ([next(rest) for _ in range(n)] for n in (n_weights, n_states, n_holds))
    offsets = next(rest) if ragged else None
    histories = [next(rest) for _ in states]
    saved = next(rest) if kept else None
    d_output, d_finals = gradients[0], list(gradients[n_states : 2 * n_states])
    wanted = [ctx.needs_input_grad[1], *ctx.needs_input_grad[2]]
    inputs = (kernel, x, weights, states, holds, offsets, reverse, rounded)
    if not torch.compiler.is_compiling() and (torch.is_grad_enabled() or _batched(gradients)):
        d_x, d_weights, d_states = _by_reference(inputs, d_output, d_finals)
    else:
        contiguous = None if d_output is None else d_output.contiguous()
        found = recurrence_backward(*inputs, histories, saved, contiguous, d_finals, wanted)
        d_x, d_weights, d_states = found[0], found[1 : 1 + n_weights], found[1 + n_weights :]
    d_weights = [d if w else None for d, w in zip(d_weights, wanted[1:], strict=True)]
    return None, d_x if wanted[0] else None, d_weights, list(d_states), [None] * n_holds, None, None, None, None


recurrence.register_autograd(_backward, setup_context=_remember)
for _operator in (recurrence, recurrence_backward):
    _operator.register_autocast("cpu", torch.float32)


def _batched(gradients: Sequence[Tensor | None]) -> bool:
    """Whether many gradients are asked for at once (`is_grads_batched`)."""
    return any(g is not None and torch._C._functorch.is_legacy_batchedtensor(g) for g in gradients)


def _by_reference(
    inputs: tuple[Any, ...], d_output: Tensor | None, d_finals: Sequence[Tensor | None]
) -> tuple[Any, list[Any], list[Any]]:
    """The same gradients from the reference loop, themselves differentiable."""
    create_graph = torch.is_grad_enabled()
    kernel, x, weights, states, *rest = inputs
    # Views: where one input was made from another, that is not a part of this derivative.
    n = 1 + len(weights)
    with torch.enable_grad():
        leaves = [t.view_as(t) if t.requires_grad else t for t in (x, *weights, *states)]
        output, finals = reference_over(_sequences(kernel, leaves[0], leaves[1:n], leaves[n:], *rest))
    pairs = [(o, d) for o, d in zip([output, *finals], [d_output, *d_finals], strict=True) if d is not None]
    asked = [t for t in leaves if t.requires_grad]
    results = torch.autograd.grad(
        [o for o, _ in pairs],
        asked,
        [d for _, d in pairs],
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    found = dict(zip(map(id, asked), results, strict=True))
    d_x, *others = (found.get(id(t)) for t in leaves)
    return d_x, others[: len(weights)], others[len(weights) :]


def reference_over(run: Sequences) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The reference loop over the same lines."""
    cell = run.kernel.equations.over(run.weights)
    grid, valid = run.grid()
    x = run.padded(run.x, grid)
    zoneout = tuple(run.padded(h.expand(run.x.shape[0], -1), grid) for h in run.holds) or None
    if run.reverse:
        lengths = None if valid is None else valid.sum(0)[:, 0]
        x = reference.reverse(x, lengths)
        zoneout = zoneout and tuple(reference.reverse(h, lengths) for h in zoneout)
        y, finals = reference.unroll(cell, x, tuple(run.states), valid=valid, zoneout=zoneout)
        y = reference.reverse(y, lengths)
    else:
        y, finals = reference.unroll(cell, x, tuple(run.states), valid=valid, zoneout=zoneout)
    return y.flatten(0, 1)[grid], finals


def _sequences(
    kernel: int,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
) -> Sequences:
    compiled = kernel_numbered(kernel)
    names = compiled.equations.parameter_shapes()
    return Sequences(compiled, x, dict(zip(names, weights, strict=True)), states, holds, offsets, reverse, rounded)


def _saved_columns(kernel: int, states: Sequence[Tensor], x: Tensor) -> int:
    programs = kernel_numbered(kernel).programs
    sizes = {"H": kernel_numbered(kernel).equations.hidden_size, "P": states[0].shape[1], "1": 1, "I": x.shape[1]}
    return sum(sizes[node.width] for node in programs.saved)
