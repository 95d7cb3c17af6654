"""One layer on random data: the same run on any path, and how far two runs lie apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.recurrence import force_path, run_layer

SMALL = 1e-2
"""What is smaller is judged as if it were this large: a gradient that is 0 but for rounding has no size of its own."""


@dataclass
class Case:
    """Cells of one layer with input, start states that are not zero, and cotangents for all that comes out.

    `cells` are one or, for a layer in both directions, two.
    """

    cells: tuple[Cell, ...]
    T: int
    B: int
    lengths: list[int] | None = None
    zoneout: bool = False
    memory: str = "fast"
    seed: int = 0
    x: Tensor = field(init=False, repr=False)

    def __post_init__(self):
        self.random, self.like = torch.Generator().manual_seed(self.seed), next(self.cells[0].parameters())
        self.x = self.leaf(self.T, self.B, self.cells[0].row_size)
        self.states = tuple(tuple(self.leaf(self.B, n) for n in c.state_sizes.values()) for c in self.cells)
        self.holds = tuple(tuple(map(self.hold, c.state_sizes.values())) for c in self.cells) if self.zoneout else None

    def __str__(self) -> str:
        cell, options = self.cells[0], f"lengths={self.lengths} zoneout={self.zoneout} memory={self.memory}"
        sizes = f"T={self.T} B={self.B} I={cell.input_size} H={cell.hidden_size} directions={len(self.cells)}"
        return f"{type(cell).__name__} {sizes} {options}"

    def leaf(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, dtype=self.like.dtype).requires_grad_()

    def hold(self, size: int) -> Tensor | float:
        """Now a mask for each step, as in training, now a rate, as in evaluation."""
        if torch.rand((), generator=self.random) < 0.3:
            return 0.25
        return (torch.rand(self.T, self.B, size, generator=self.random) < 0.4).to(self.like.dtype)

    def inputs(self) -> dict[str, Tensor]:
        named = {"x": self.x}
        for d, (cell, state) in enumerate(zip(self.cells, self.states, strict=True)):
            named |= {f"start {name} of {d}": part for name, part in zip(cell.states, state, strict=True)}
            named |= {f"{name} of {d}": weight for name, weight in cell.named_parameters()}
        return named

    def outputs(self, path: str) -> dict[str, Tensor]:
        lengths = None if self.lengths is None else torch.tensor(self.lengths)
        with force_path(path):
            ys, finals = run_layer(self.cells, self.x, self.states, lengths, zoneout=self.holds, memory=self.memory)
        named = {f"output of {d}": y for d, y in enumerate(ys)}
        for d, (cell, final) in enumerate(zip(self.cells, finals, strict=True)):
            named |= {f"final {name} of {d}": part for name, part in zip(cell.states, final, strict=True)}
        return named

    def run(self, path: str) -> dict[str, Tensor]:
        """Everything that comes out, and the gradients of everything that goes in."""
        outputs, inputs = self.outputs(path), self.inputs()
        random = torch.Generator().manual_seed(self.seed + 1)
        cotangents = [torch.randn(y.shape, generator=random, dtype=torch.float64).to(y.dtype) for y in outputs.values()]
        found = torch.autograd.grad(list(outputs.values()), list(inputs.values()), cotangents, materialize_grads=True)
        gradients = {f"gradient of {name}": g for name, g in zip(inputs, found, strict=True)}
        return {name: y.detach() for name, y in outputs.items()} | gradients


def distance(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest value; infinite where one of them is not finite."""
    scale = wanted.detach().double().abs().max().clamp(min=SMALL) if wanted.numel() else 1.0
    gap = (found.detach().double() - wanted.detach().double()).abs().nan_to_num(torch.inf) / scale
    return float(gap.max()) if gap.numel() else 0.0


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], near: float, what: object = "") -> None:
    assert list(found) == list(wanted)
    for name, expected in wanted.items():
        assert found[name].shape == expected.shape, f"{what} {name}"
        assert distance(found[name], expected) <= near, f"{what} {name}: {distance(found[name], expected):.2e} apart"
