"""A layer as one of ONNX's own recurrent operators, while `torch.onnx.export` is at work.

Runtimes have kernels for `RNN`, `GRU` and `LSTM`; all other cells leave as `Scan` (`scan.py`). The operators are
written by `torch.onnx.ops.symbolic_multi_out`, which is for this and computes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.cells.onnx_equivalents import ONNX_EQUIVALENTS, OnnxEquivalent
from gateflow.recurrence.shipped import Shipped

__all__ = ["equivalent_of", "run"]

State = tuple[Tensor, ...]

_EQUIVALENTS = {each.cell: each for each in ONNX_EQUIVALENTS}
_SHIPPED = Shipped(_EQUIVALENTS)


def equivalent_of(cells: tuple[Cell, ...], x: Tensor) -> OnnxEquivalent | None:
    """ONNX's operator for a layer; none where it has other equations, or its directions differ."""
    kinds = {_SHIPPED.kind_of(cell) for cell in cells}
    kind = kinds.pop() if len(kinds) == 1 else None
    # The standard allows float64, and ONNX Runtime has no kernel for it ("LSTM operator does not support double yet").
    return _EQUIVALENTS[kind] if kind is not None and x.dtype in (torch.float32, torch.float16) else None


def run(
    cells: tuple[Cell, ...], x: Tensor, states: tuple[State, ...], lengths: Tensor | None
) -> tuple[list[Tensor], list[State]]:
    """Writes one layer, forward or in both directions; arguments and results are those of `vendor.run`."""
    known = equivalent_of(cells, x)
    assert known is not None
    start = [torch.stack(parts) for parts in zip(*states, strict=True)]
    # ONNX Runtime refuses a length of 0: such rows run one step, which is then undone.
    steps = None if lengths is None else lengths.clamp(min=1).to(torch.int32)
    optional = {"P": _peepholes(known, cells)} if known.peepholes else {}
    initial_c = start[1:] or ([None] if optional else [])
    inputs = [x, *_weights(known, cells), steps, start[0], *initial_c, *optional.values()]
    (T, B), D, H = x.shape[:2], len(cells), cells[0].hidden_size
    shapes = [(T, D, B, H), *[(D, B, H)] * len(start)]
    y, *final = torch.onnx.ops.symbolic_multi_out(
        known.operator, inputs, _attributes(known, D, H), dtypes=[x.dtype] * len(shapes), shapes=shapes
    )
    outputs = [y[:, d] for d in range(D)]
    if lengths is not None:
        empty = (lengths == 0)[:, None]
        outputs = [torch.where(empty, 0.0, y) for y in outputs]
        final = [torch.where(empty, old, new) for old, new in zip(start, final, strict=True)]
    return outputs, [tuple(part[d] for part in final) for d in range(D)]


def _weights(known: OnnxEquivalent, cells: tuple[Cell, ...]) -> list[Tensor | None]:
    """ONNX's W, R and B, `[D, …]`; biases of the input before those of the state."""

    def stacked(*names: str) -> Tensor:
        return torch.stack([torch.cat([known.fused(c, getattr(c, name)) for name in names]) for c in cells])

    biases = stacked("bias_ih", "bias_hh") if cells[0].bias else None
    return [stacked("weight_ih"), stacked("weight_hh"), biases]


def _peepholes(known: OnnxEquivalent, cells: tuple[Cell, ...]) -> Tensor:
    return torch.stack([torch.cat([getattr(cell, name) for name in known.peepholes]) for cell in cells])


def _attributes(known: OnnxEquivalent, directions: int, hidden_size: int) -> dict[str, Any]:
    # A list is for one direction; ONNX wants it for both, one after the other.
    own = {n: list(v) * directions if isinstance(v, tuple) else v for n, v in known.attributes.items()}
    return {"direction": "bidirectional" if directions == 2 else "forward", "hidden_size": hidden_size, **own}
