"""One figure is one case: a cell, a shape, a mode, a precision; and the data that all peers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.cells import CELLS
from benchmarks.shapes import SHAPES, SHORT, STREAM, Shape
from gateflow import Recurrent
from gateflow.benchmarking.peers import Sequences, values


class Absent(Exception):  # noqa: N818
    """Why a peer has no figure here; it stands in the output in the place of the figure."""


@dataclass(frozen=True)
class Case:
    """What one figure measures."""

    cell: str
    shape: Shape
    mode: str  # inference, training, step
    precision: str = "fp32"  # or bf16: products under autocast

    def __str__(self) -> str:
        return f"{self.mode} {self.cell} {self.shape.name} {self.precision}"


class Problem:
    """A case with its layer and its data; every peer computes this, from the same weights."""

    def __init__(self, case: Case):
        # All peers compute the same numbers, so that their outputs can be compared.
        torch.manual_seed(0)
        self.case, self.subject, shape = case, CELLS[case.cell], case.shape
        self.layer = Recurrent(self.subject.cell, shape.I, shape.H)
        self.padded = torch.randn(shape.T, shape.B, shape.I)
        self.x: Sequences = self.padded
        if shape.lengths is not None:
            # Unsorted, as a user's batches are.
            self.x = pack_padded_sequence(self.padded, torch.tensor(shape.lengths), enforce_sorted=False)
            self.padded = pad_packed_sequence(self.x)[0]
        self.cotangent = torch.randn((*values(self.x).shape[:-1], shape.H))

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights under the names of the cell: `weight_ih`, not `weight_ih_l0`."""
        return {name.removesuffix("_l0"): weight.detach() for name, weight in self.layer.named_parameters()}

    @property
    def padded_cotangent(self) -> Tensor:
        """The cotangent `[T, B, H]`, zero beyond each row's end."""
        if isinstance(self.x, Tensor):
            return self.cotangent
        return pad_packed_sequence(self.x._replace(data=self.cotangent))[0]

    @property
    def forward_flops(self) -> int:
        """Of the matrix products of a forward pass: `2 · tokens · G · H · (I + H)`."""
        # A multiplication and an addition for each weight of a matrix and each token.
        return 2 * self.case.shape.tokens * sum(w.numel() for w in self.weights.values() if w.dim() == 2)

    @property
    def flops(self) -> int:
        """Of the matrix products of the case; the backward pass has twice those of the forward pass."""
        # Backward multiplies twice: for the input's gradient and for the weights'.
        return self.forward_flops * (3 if self.case.mode == "training" else 1)


def planned(
    cells: list[str] | None, shapes: list[Shape] | None, modes: Iterable[str], precisions: Iterable[str]
) -> Iterator[Case]:
    """All figures: streaming on its own shape; bf16, unless told otherwise, for the LSTM where products are large.

    One cell has a short shape in addition, on which `torch.compile` of the loop can be tried.
    """
    for mode in modes:
        for precision in precisions if mode != "step" else ("fp32",):
            for shape in _shapes(shapes, mode, precision):
                yield from (Case(cell, shape, mode, precision) for cell in _cells(cells, precision))
            if shapes is None and mode != "step" and "peephole_lstm" in _cells(cells, precision):
                yield Case("peephole_lstm", SHORT, mode, precision)


def _cells(given: list[str] | None, precision: str) -> list[str]:
    return given or (["lstm"] if precision == "bf16" else list(CELLS))


def _shapes(given: list[Shape] | None, mode: str, precision: str) -> list[Shape]:
    # One row: what is streamed has no batch.
    if mode == "step":
        return [STREAM]
    if precision == "bf16":
        return given or [shape for shape in SHAPES if large(shape)]
    return given or SHAPES


def large(shape: Shape) -> bool:
    """Where products dominate, so that their precision and their share of the peak tell."""
    return shape.H >= 512 and shape.B >= 64
