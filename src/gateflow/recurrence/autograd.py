"""The native path as operators of torch: what autograd, fake tensors and `torch.compile` see of it.

    gateflow::recurrence            input, weights, start states  →  histories, final states, what the way back needs
    gateflow::recurrence_backward   their gradients

A kernel is named by its number. Derivatives of derivatives (`create_graph=True`) come from the reference loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.compiler import kernel_numbered
from gateflow.recurrence import reference
from gateflow.recurrence.native import Sequences
from gateflow.recurrence.way_back import WayBack

__all__ = ["recurrence"]

_FAST = "fast"
_modes: Any = torch._C._len_torch_dispatch_stack  # pyright: ignore[reportAttributeAccessIssue]


@torch.library.custom_op("gateflow::recurrence", mutates_args=())
def recurrence_operator(
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
    return _run(kernel, x, weights, states, holds, offsets, reverse, rounded, memory)


def _run(*inputs: Any) -> list[Tensor]:
    *sequences, memory = inputs
    histories, finals, saved = _sequences(*sequences).forward(keep=memory == _FAST)
    return [*histories, *finals, *([] if saved is None else [saved])]


@recurrence_operator.register_fake
def _(kernel, x, weights, states, holds, offsets, reverse, rounded, memory):
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
    inputs = (kernel, x, weights, states, holds, offsets, reverse, rounded)
    return _run_backward(*inputs, histories, saved, d_output, d_finals, wanted)


def _run_backward(*inputs: Any) -> list[Tensor]:
    *sequences, histories, saved, d_output, d_finals, wanted = inputs
    run = _sequences(*sequences)
    run.histories = list(histories)
    names, x = list(run.weights), run.x
    chosen = frozenset(n for n, w in zip(names, wanted[1:], strict=True) if w)
    gradients = WayBack(run, saved, d_output, d_finals, chosen, wanted[0]).run()
    d_x = x.new_empty(0) if gradients.x is None else gradients.x
    return [d_x, *(gradients.weights.get(n, x.new_empty(0)) for n in names), *gradients.states]


@recurrence_backward.register_fake
def _(kernel, x, weights, states, *others):
    wanted = others[-1]
    inputs = [torch.empty_like(t) if w else x.new_empty(0) for t, w in zip([x, *weights], wanted, strict=True)]
    return [*inputs, *(torch.empty_like(s) for s in states)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    kernel, x, weights, states, holds, offsets, reverse, rounded, memory = inputs
    ctx.set_materialize_grads(False)
    ctx.call = (kernel, reverse, rounded)
    ctx.counts = [len(weights), len(states), len(holds), offsets is not None, memory == _FAST]
    kept = [*output[: len(states)], *output[2 * len(states) :]]
    ctx.witness = None
    if not _traced():
        # The user may change the output in place. Then what was saved is no longer what was computed, and is computed
        # again: a second way there where that happens, and no copy where it does not.
        ctx.witness, kept[0] = _witness(output[0]), output[0].data
    ctx.save_for_backward(x, *weights, *states, *holds, *([] if offsets is None else [offsets]), *kept)


def _gradients(
    ctx: Any, gradients: Sequence[Tensor | None], wanted: list[bool], backward: Callable[..., list[Tensor]]
) -> tuple[Tensor | None, list[Tensor | None], list[Tensor]]:
    """Gradients of the input, the weights and the start states from those of the outputs."""
    (kernel, reverse, rounded), (n_weights, n_states, n_holds, ragged, kept) = ctx.call, ctx.counts
    rest = iter(ctx.saved_tensors)
    x = next(rest)
    weights, states, holds = ([next(rest) for _ in range(n)] for n in (n_weights, n_states, n_holds))
    offsets = next(rest) if ragged else None
    histories = [next(rest) for _ in states]
    saved = next(rest) if kept else None
    if ctx.witness is not None and ctx.witness[0]._version != ctx.witness[1]:
        histories, _, saved = _sequences(kernel, x, weights, states, holds, offsets, reverse, rounded).forward(
            keep=kept
        )
    d_output, d_finals = gradients[0], list(gradients[n_states : 2 * n_states])
    inputs = (kernel, x, weights, states, holds, offsets, reverse, rounded)
    if not torch.compiler.is_compiling() and (torch.is_grad_enabled() or _batched(gradients)):
        d_x, d_weights, d_states = _by_reference(inputs, d_output, d_finals)
    else:
        contiguous = None if d_output is None else d_output.contiguous()
        found = backward(*inputs, histories, saved, contiguous, d_finals, wanted)
        d_x, d_weights, d_states = found[0], found[1 : 1 + n_weights], found[1 + n_weights :]
    d_weights = [d if w else None for d, w in zip(d_weights, wanted[1:], strict=True)]
    return d_x if wanted[0] else None, d_weights, list(d_states)


def _backward(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    wanted = [ctx.needs_input_grad[1], *ctx.needs_input_grad[2]]
    d_x, d_weights, d_states = _gradients(ctx, gradients, wanted, recurrence_backward)
    return None, d_x, d_weights, d_states, [None] * ctx.counts[2], None, None, None, None


recurrence_operator.register_autograd(_backward, setup_context=_remember)
for _operator in (recurrence_operator, recurrence_backward):
    _operator.register_autocast("cpu", torch.float32)


class _Eager(torch.autograd.Function):
    """The same without the machinery of operators, which takes longer than a small recurrence."""

    @staticmethod
    def forward(ctx: Any, call: tuple[Any, ...], counts: tuple[int, int], x: Tensor, *tensors: Tensor) -> Any:
        """`call` is `(kernel, offsets, reverse, rounded, memory)`; the tensors are weights, states and holds."""
        kernel, offsets, reverse, rounded, memory = call
        n, m = counts[0], sum(counts)
        inputs = (kernel, x, tensors[:n], tensors[n:m], tensors[m:], offsets, reverse, rounded, memory)
        output = _run(*inputs)
        _remember(ctx, inputs, output)
        ctx.mark_non_differentiable(*output[1 : counts[1]], *output[2 * counts[1] :])
        return tuple(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """In the order of `forward`."""
        wanted = list(ctx.needs_input_grad[2 : 3 + ctx.counts[0]])
        d_x, d_weights, d_states = _gradients(ctx, gradients, wanted, _run_backward)
        return None, None, d_x, *d_weights, *d_states, *[None] * ctx.counts[2]


def recurrence(*inputs: Any) -> Sequence[Tensor]:
    """Runs a kernel over sequences with its derivative; arguments and results as those of `recurrence_operator`."""
    if torch.is_autocast_enabled("cpu") or _traced():
        # `draft_export` takes an optional tensor that is none for one that was changed, so here none is an empty one.
        *before, offsets, reverse, rounded, memory = inputs
        offsets = before[1].new_empty(0, dtype=torch.int64) if offsets is None else offsets
        return recurrence_operator(*before, offsets, reverse, rounded, memory)
    kernel, x, weights, states, holds, *settings = inputs
    if settings[-1] == "nothing":
        return _run(*inputs)
    return _Eager.apply((kernel, *settings), (len(weights), len(states)), x, *weights, *states, *holds)


def _witness(output: Tensor) -> tuple[Tensor, int]:
    """An empty tensor that counts the changes of `output` with it, holding none of its memory, and the count so far."""
    witness = output.detach()
    witness.data = output.new_empty(0)
    return witness, witness._version


def _traced() -> bool:
    """Whether this runs for its graph: under `torch.compile`, on fake tensors, in a tracer."""
    return torch.compiler.is_compiling() or _modes() > 0


def _batched(gradients: Sequence[Tensor | None]) -> bool:
    """Whether many gradients are asked for at once (`is_grads_batched`)."""
    is_batched = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore[reportAttributeAccessIssue]
    return any(g is not None and is_batched(g) for g in gradients)


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
    zoneout = [run.padded(hold.expand(run.x.shape[0], -1), grid) for hold in run.holds]
    lengths = None if valid is None else valid.sum(0)[:, 0]

    def turned(lines: Tensor) -> Tensor:
        return reference.reverse(lines, lengths) if run.reverse else lines

    held = tuple(turned(hold) for hold in zoneout) or None
    y, finals = reference.unroll(cell, turned(x), tuple(run.states), valid=valid, zoneout=held)
    return turned(y).flatten(0, 1)[grid], finals


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
    offsets = offsets if offsets is not None and len(offsets) else None
    return Sequences(compiled, x, dict(zip(names, weights, strict=True)), states, holds, offsets, reverse, rounded)


def _saved_columns(kernel: int, states: Sequence[Tensor], x: Tensor) -> int:
    programs = kernel_numbered(kernel).programs
    sizes = {"H": kernel_numbered(kernel).equations.hidden_size, "P": states[0].shape[1], "1": 1, "I": x.shape[1]}
    return sum(sizes[node.width] for node in programs.saved)
