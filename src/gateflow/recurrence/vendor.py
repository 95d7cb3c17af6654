"""The vendor path: `torch`'s own kernels (oneDNN, cuDNN, ATen), for the cells whose equations are the same."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gateflow.cells import Cell
from gateflow.cells.torch_equivalents import TORCH_EQUIVALENTS
from gateflow.recurrence.private_torch import tracing_state
from gateflow.recurrence.shipped import Shipped

__all__ = ["kernel_of", "run"]

State = tuple[Tensor, ...]

_KERNELS: dict[type[Cell], Callable[..., Any]] = {each.cell: each.kernel for each in TORCH_EQUIVALENTS}
_SHIPPED = Shipped(_KERNELS)
# In the order in which torch's kernels take them, `_flat_weights` of torch/nn/modules/rnn.py.
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def kernel_of(cell: Cell) -> Callable[..., Any] | None:
    """The kernel of torch that computes this very cell; a subclass with a step of its own has none."""
    kind = _SHIPPED.kind_of(cell)
    return None if kind is None else _KERNELS[kind]


def run(
    cells: tuple[Cell, ...], x: Tensor, states: tuple[State, ...], lengths: Tensor | None
) -> tuple[list[Tensor], list[State]]:
    """Runs one layer, forward or in both directions, by torch's kernel.

    Args:
        cells: the forward cell, and for a bidirectional layer the reverse cell.
        x: input `[T, B, I]`, zero where a row has ended.
        states: for each direction the state before its first step.
        lengths: `[B]`, each from 0 to `T`; none if all rows are `T` long.

    Returns:
        For each direction the output `[T, B, size]` and the final state.
    """
    start = [torch.stack(parts) for parts in zip(*states, strict=True)]
    if lengths is None:
        y, *final = _call(cells, (x,), start, batch_first=(False,))
    else:
        y, *final = _ragged(cells, x, start, lengths)
    outputs = [y] if len(cells) == 1 else list(y.chunk(2, dim=-1))  # pieces of a chunk cannot be changed in place
    return outputs, [tuple(part[d] for part in final) for d in range(len(cells))]


def _ragged(cells: tuple[Cell, ...], x: Tensor, start: list[Tensor], lengths: Tensor) -> list[Tensor]:
    """torch wants packed rows of length 1 or more: empty rows run one step on zeros, which is then undone."""
    # On the CPU: torch takes lengths from nowhere else.
    packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), enforce_sorted=False)
    assert packed.sorted_indices is not None
    assert packed.unsorted_indices is not None
    ordered = [part.index_select(1, packed.sorted_indices) for part in start]
    y, *final = _call(cells, (packed.data, packed.batch_sizes), ordered, batch_first=())
    y, _ = pad_packed_sequence(packed._replace(data=y), total_length=x.shape[0])
    final = [part.index_select(1, packed.unsorted_indices) for part in final]
    empty = (lengths == 0)[:, None]
    # Rows without a step: no output, and the state that they had.
    return [torch.where(empty, 0.0, y), *(torch.where(empty, a, b) for a, b in zip(start, final, strict=True))]


def _call(*arguments: Any, **options: Any) -> Any:
    """Torch's compiler cannot lower torch's kernels: they stay outside the graph, as those of `torch.nn` do."""
    if torch.compiler.is_compiling():
        return torch.compiler.disable(_kernel_call)(*arguments, **options)
    return _kernel_call(*arguments, **options)


def _kernel_call(
    cells: tuple[Cell, ...], data: tuple[Tensor, ...], start: list[Tensor], batch_first: tuple[bool, ...]
) -> Any:
    """torch takes `(x, hx, …, batch_first)` for padded input and `(data, batch_sizes, hx, …)` for packed."""
    kernel = kernel_of(cells[0])
    assert kernel is not None
    weights = [w for cell in cells for name in _WEIGHTS if (w := getattr(cell, name, None)) is not None]
    hx = tuple(start) if kernel is torch.lstm else start[0]
    # `train` is whether gradients are wanted: cuDNN would otherwise refuse a backward pass in eval mode. A traced graph
    # holds it as a constant, and is compared with one that was traced without gradients.
    train = torch.is_grad_enabled() or tracing_state() is not None
    options = (cells[0].bias, 1, 0.0, train, len(cells) == 2, *batch_first)
    with _without_hints() if data[0].is_cuda or hasattr(cells[0], "weight_hr") else contextlib.nullcontext():
        return kernel(*data, hx, weights, *options)


@contextlib.contextmanager
def _without_hints() -> Iterator[None]:
    """Hides two hints on speed that the user of a layer can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        yield
