"""The native path as operators of torch: what autograd, fake tensors and `torch.compile` see of it.

    gateflow::recurrence            input, weights, start states  →  histories, final states, what backward needs
    gateflow::recurrence_backward   their gradients

An operator names its cell by the text of what the step computes (`compiler/naming.py`), which means the same in every
process. Derivatives of derivatives (`create_graph=True`) come from the captured graph in a loop, and so does everything
where no kernel can be built: an exported program runs anywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gateflow.backends import BACKENDS, Backend, Sequences, backend_of
from gateflow.compiler import Step, step_named
from gateflow.compiler.node import Sizes
from gateflow.errors import BuildError, ReferencePathWarning, ShapeError
from gateflow.recurrence.graph_loop import gradients_by_graph, unroll_graph
from gateflow.recurrence.leaving import refuse_to_leave
from gateflow.recurrence.private_torch import is_legacy_batched
from gateflow.recurrence.saved_tensors import output_has_changed, resolved, restored, save, traced

__all__ = ["recurrence"]

_FAST = "fast"
_READ_ONLY = "nothing"


class _Call(NamedTuple):
    """The arguments of the operator, whose schema is flat; see `Sequences`."""

    step: Step | str
    x: Tensor
    weights: Sequence[Tensor]
    states: Sequence[Tensor]
    holds: Sequence[Tensor]
    offsets: Tensor | None
    reverse: bool
    products: torch.dtype | None
    memory: str = _READ_ONLY

    def sequences(self) -> Sequences:
        """The run that is asked for.

        Raises:
            ArtifactError: the step has a name that is damaged.
            ShapeError: there are more or fewer weights than the step has, or of other shapes.
        """
        step = step_named(self.step) if isinstance(self.step, str) else self.step
        cell, offsets = step.cell, self.offsets
        # An exported program is loaded with weights of its own, so neither number nor shapes are believed.
        if (len(self.weights), len(self.states)) != (len(cell.weights), len(cell.graph.states)):
            raise ShapeError(f"{cell.graph.cell} has {len(cell.weights)} weights, found {len(self.weights)}")
        named = dict(zip(cell.weights, self.weights, strict=True))
        offsets = offsets if offsets is not None and len(offsets) else None  # an empty one is none, see `recurrence`
        return Sequences(step, self.x, named, self.states, self.holds, offsets, self.reverse, self.products)


@torch.library.custom_op("gateflow::recurrence", mutates_args=())
def recurrence_operator(
    step: str,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    products: torch.dtype | None,
    memory: str,
) -> list[Tensor]:
    """Runs a cell over sequences; see `Sequences`.

    Args:
        step: its name, `Step.name`.
        x, states, holds, offsets, reverse, products: as `Sequences` takes them.
        weights: in the order of the cell's parameters.
        memory: what is kept for the backward pass: "fast" all it needs, "lean" the states alone, "nothing".

    Returns:
        For each part of the state its history, then for each its final value, then what is kept ("fast" alone).
    """
    return _run(_Call(step, x, weights, states, holds, offsets, reverse, products, memory))


def _run(call: _Call) -> list[Tensor]:
    run, keep = call.sequences(), call.memory == _FAST
    try:
        histories, finals, saved = _backend_for(run).forward(run, keep=keep)
    except BuildError as problem:
        if isinstance(call.step, Step):  # the caller has another path
            raise
        histories, finals, saved = _without_kernel(run, problem, keep=keep)
    return [*histories, *finals, *([] if saved is None else [saved])]


@recurrence_operator.register_fake
def _(step, x, weights, states, holds, offsets, reverse, products, memory):
    refuse_to_leave(step_named(step).cell.graph.cell)
    histories = [x.new_empty(x.shape[0], s.shape[1]) for s in states]
    saved = [x.new_empty(x.shape[0], _saved_columns(step, states, x))] if memory == _FAST else []
    return [*histories, *(torch.empty_like(s) for s in states), *saved]


@torch.library.custom_op("gateflow::recurrence_backward", mutates_args=())
def recurrence_backward(
    step: str,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    products: torch.dtype | None,
    histories: Sequence[Tensor],
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Gradients of the input, the weights and the start states; empty where not `wanted` (input, weights)."""
    call = _Call(step, x, weights, states, holds, offsets, reverse, products)
    return _run_backward(call, histories, saved, d_output, d_finals, wanted)


def _backward_operator(call: _Call, *others: Any) -> list[Tensor]:
    return recurrence_backward(*call[:-1], *others)  # all but `memory`


def _run_backward(
    call: _Call,
    histories: Sequence[Tensor],
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    run = call.sequences()
    run.histories = list(histories)
    names, x = list(run.weights), run.x
    chosen = frozenset(n for n, w in zip(names, wanted[1:], strict=True) if w)
    try:
        gradients = _backend_for(run).backward(run, saved, d_output, d_finals, chosen, wanted[0])
    except BuildError as problem:
        _tell(run, problem)
        with ThreadPoolExecutor(1) as thread:  # below an operator torch records nothing, but for other threads
            found = thread.submit(gradients_by_graph, run, d_output, d_finals, create_graph=False).result()
        d_x, d_weights, d_states = found
        return [d_x, *d_weights, *d_states]
    # An operator returns tensors alone: an empty one stands for what was not asked for.
    d_x = x.new_empty(0) if gradients.x is None else gradients.x
    return [d_x, *(gradients.weights.get(n, x.new_empty(0)) for n in names), *gradients.states]


@recurrence_backward.register_fake
def _(step, x, weights, states, *others):
    wanted = others[-1]
    inputs = [torch.empty_like(t) if w else x.new_empty(0) for t, w in zip([x, *weights], wanted, strict=True)]
    return [*inputs, *(torch.empty_like(s) for s in states)]


def _gradients(
    ctx: Any,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: list[bool],
    backward: Callable[..., list[Tensor]],
) -> tuple[Tensor | None, list[Tensor | None], list[Tensor]]:
    """Gradients of the input, the weights and the start states from those of the outputs."""
    (step, reverse, products), (n_weights, n_states, n_holds, ragged, kept) = ctx.settings, ctx.counts
    rest = iter(restored(ctx))
    x = next(rest)
    weights, states, holds = ([next(rest) for _ in range(n)] for n in (n_weights, n_states, n_holds))
    offsets = next(rest) if ragged else None
    histories = [next(rest) for _ in states]
    saved = next(rest) if kept else None
    call = _Call(step, x, weights, states, holds, offsets, reverse, products)
    if output_has_changed(ctx):
        again = _run(call._replace(memory=_FAST if kept else _READ_ONLY))
        histories, saved = again[:n_states], again[-1] if kept else None
    # Gradients are on here under `create_graph=True`; those of a batch have a dimension that no kernel knows.
    if not torch.compiler.is_compiling() and (torch.is_grad_enabled() or _batched((d_output, *d_finals))):
        d_x, d_weights, d_states = gradients_by_graph(
            call.sequences(), d_output, d_finals, create_graph=torch.is_grad_enabled()
        )
    else:
        contiguous = None if d_output is None else resolved(d_output).contiguous()
        d_finals = [None if d is None else resolved(d) for d in d_finals]
        found = backward(call, histories, saved, contiguous, d_finals, wanted)
        d_x, d_weights, d_states = found[0], found[1 : 1 + n_weights], found[1 + n_weights :]
    d_weights = [d if w else None for d, w in zip(d_weights, wanted[1:], strict=True)]
    return d_x if wanted[0] else None, d_weights, list(d_states)


def _backward(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    wanted = [ctx.needs_input_grad[1], *ctx.needs_input_grad[2]]
    n_states = ctx.counts[1]
    d_finals = gradients[n_states : 2 * n_states]
    d_x, d_weights, d_states = _gradients(ctx, gradients[0], d_finals, wanted, _backward_operator)
    return None, d_x, d_weights, d_states, [None] * ctx.counts[2], None, None, None, None


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    step, x, weights, states, holds, offsets, reverse, products, memory = inputs
    # A gradient that is not there must not become zeros of the size of a history.
    ctx.set_materialize_grads(False)
    ctx.settings = (step, reverse, products)
    ctx.counts = [len(weights), len(states), len(holds), offsets is not None, memory == _FAST]
    kept = [*output[: len(states)], *output[2 * len(states) :]]
    save(ctx, [x, *weights, *states, *holds, *([] if offsets is None else [offsets])], kept)


recurrence_operator.register_autograd(_backward, setup_context=_remember)
for _operator in (recurrence_operator, recurrence_backward):
    for _device in BACKENDS:
        # Autocast narrows what operators are given; the factors of products are rounded inside instead (`products`).
        _operator.register_autocast(_device, torch.float32)


class _Eager(torch.autograd.Function):
    """The same without the machinery of operators, which takes longer than a small recurrence."""

    @staticmethod
    def forward(ctx: Any, call: tuple[Any, ...], counts: tuple[int, int], x: Tensor, *tensors: Tensor) -> Any:
        """`call` is `(step, offsets, reverse, products, memory)`; the tensors are weights, states and holds."""
        step, offsets, reverse, products, memory = call
        n, m = counts[0], sum(counts)
        inputs = (step, x, tensors[:n], tensors[n:m], tensors[m:], offsets, reverse, products, memory)
        output = _run(_Call(*inputs))
        _remember(ctx, inputs, output)
        ctx.device = x.device.type
        # The other histories and what is kept are for the backward pass; gradients of states come through the finals.
        return output[0], *output[counts[1] : 2 * counts[1]]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """In the order of `forward`."""
        wanted = list(ctx.needs_input_grad[2 : 3 + ctx.counts[0]])
        # Whoever calls `backward` under autocast must find the same gradients.
        with torch.autocast(ctx.device, enabled=False) if torch.is_autocast_enabled(ctx.device) else nullcontext():
            d_x, d_weights, d_states = _gradients(ctx, gradients[0], gradients[1:], wanted, _run_backward)
        return None, None, d_x, *d_weights, *d_states, *[None] * ctx.counts[2]


def recurrence(step: Step | str, *inputs: Any) -> Sequence[Tensor]:
    """Runs a step over sequences with its derivative; arguments as those of `recurrence_operator`.

    Returns:
        The output's history, `[lines, size]`, then the final values of the parts of the state.
    """
    device = inputs[0].device.type
    if torch.is_autocast_enabled(device) and not traced() and inputs[0].dtype is torch.float32:
        # What autocast would do to the operator's arguments has been done, and is not to be done to what is inside.
        with torch.autocast(device, enabled=False):
            return recurrence(step, *inputs)
    if torch.is_autocast_enabled(device) or traced():
        # `draft_export` takes an optional tensor that is none for one that was changed, so here none is an empty one.
        *before, offsets, reverse, products, memory = inputs
        offsets = before[0].new_empty(0, dtype=torch.int64) if offsets is None else offsets
        name = step if isinstance(step, str) else step.name
        return _visible(recurrence_operator(name, *before, offsets, reverse, products, memory), before[2])
    x, weights, states, holds, *settings = inputs
    # Past autograd, whose Python takes longer than a small recurrence.
    if settings[-1] == _READ_ONLY:
        return _visible(_run(_Call(step, *inputs)), states)
    return _Eager.apply((step, *settings), (len(weights), len(states)), x, *weights, *states, *holds)


def _visible(output: Sequence[Tensor], states: Sequence[Tensor]) -> list[Tensor]:
    """Of what is computed, what the caller sees."""
    return [output[0], *output[len(states) : 2 * len(states)]]


def _batched(gradients: Sequence[Tensor | None]) -> bool:
    """Whether many gradients are asked for at once (`is_grads_batched`)."""
    return any(g is not None and is_legacy_batched(g) for g in gradients)


def _backend_for(run: Sequences) -> Backend:
    """The back end for a run; an exported program may be moved, and its weights loaded, after it was made.

    Raises:
        BuildError: there are no kernels for tensors such as these.
    """
    backend = backend_of(run.x.device)
    # Kernels have no float16, and a program may have been moved to a GPU.
    if backend is None or run.x.dtype not in backend.dtypes:
        found = f"{run.x.dtype} on {run.x.device}"
        raise BuildError(f"kernels compute in float32, on CPUs in float64 too; the input is {found}")
    return backend


def _without_kernel(
    run: Sequences, problem: BuildError, *, keep: bool
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """The outputs of an exported program where no kernel can be built."""
    _tell(run, problem)
    histories, finals = unroll_graph(run)
    columns = sum(run.sizes[node.width] for node in run.step.cell.storage.saved)
    # `register_fake` has promised a tensor of this shape; the loop's gradients do not read it.
    return histories, finals, run.x.new_zeros(run.x.shape[0], columns) if keep else None


def _tell(run: Sequences, problem: BuildError) -> None:
    said = f"{run.step.cell.graph.cell} runs as a loop, right but slow: {problem}"
    warnings.warn(said, ReferencePathWarning, stacklevel=3)


def _saved_columns(step: str, states: Sequence[Tensor], x: Tensor) -> int:
    # Of the text alone: fake tensors must not build a kernel.
    cell = step_named(step).cell
    sizes = Sizes(H=cell.hidden_size, P=states[0].shape[1], I=x.shape[1])
    return sum(sizes[node.width] for node in cell.storage.saved)
