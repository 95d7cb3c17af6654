"""What a back end is, and the sequences it is given. The compiler knows none; `recurrence/` asks for that of a device.

obstacle   why there are no kernels here, or none of a step, in words; None where there are
source     the text of a step's kernel
forward    a run over sequences                backward   its gradients
stream     one step, its weights prepared
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from gateflow.compiler import Costs, Step
from gateflow.errors import ShapeError

__all__ = ["Backend", "Forward", "Gradients", "Sequences", "SingleStep"]

State = tuple[Tensor, ...]
_shape, _dtype = attrgetter("shape"), attrgetter("dtype")


@dataclass
class Sequences:
    """A cell's run over sequences.

    All samples of a step lie together, so that a step is a block of lines; where sequences differ in length, samples
    are sorted by falling length, and the samples of a step are a prefix of those of the step before.

    Args:
        step: the compiled cell, and the numbers that its step reads now.
        x: input, one line per sample and step: `[lines, I]`.
        weights: the cell's weights by name.
        states: what each part of the state starts from, `[B, size]`.
        holds: for each part of the state how much of the old value zoneout keeps, and for each dropout within the step
            what it multiplies by: `[lines, size]` or one line for all, in the order of `CompiledCell.line_inputs`.
        offsets: where each step begins, `[T + 1]`, on the device of `x`; none if all samples are equally long.
        reverse: whether the cell goes from the last step to the first.
        products: the dtype to which the factors of all products are rounded; sums and states stay as they are.
        histories: each part of the state after each step, `[lines, size]`, once the run is over.

    Raises:
        ShapeError: a weight does not have its shape, or a tensor another dtype; the loops would read beyond it.
    """

    step: Step
    x: Tensor
    weights: Mapping[str, Tensor]
    states: Sequence[Tensor]
    holds: Sequence[Tensor] = ()
    offsets: Tensor | None = None
    reverse: bool = False
    products: torch.dtype | None = None
    histories: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples, lines = self.states[0].shape[0], self.x.shape[0]
        self.steps = lines // max(self.samples, 1) if self.offsets is None else len(self.offsets) - 1
        tensors = self.x, *self.weights.values(), *self.states
        self.shapes = (*map(_shape, tensors),)
        # Before any kernel: it takes addresses and believes what the cell says of them.
        self.sizes = self.step.cell.fitting(self.shapes, self.weights, self.states)
        """What the widths of rows are here."""
        if {*map(_dtype, tensors), *map(_dtype, self.holds)} != {self.x.dtype}:
            found = sorted({str(t.dtype) for t in (*tensors, *self.holds)})
            raise ShapeError(f"input, weights, states and holds must be of one dtype, found {' and '.join(found)}")

    @property
    def rounded(self) -> bool:
        """Whether the factors of products are."""
        return self.products is not None

    @property
    def numbers(self) -> Tensor | None:
        """The numbers that the step reads now, as one line; none if it reads none."""
        return self._line_of_numbers if self.step.numbers else None

    @cached_property
    def _line_of_numbers(self) -> Tensor:
        return self._line(self.step.numbers)

    @cached_property
    def line_of_sizes(self) -> Tensor | None:
        """The sizes of rows that stand in the equations, such as in a mean, as one line; none if none do."""
        measured = self.step.cell.storage.measured
        return self._line([float(self.sizes[w]) for w in measured]) if measured else None

    def _line(self, numbers: Sequence[float]) -> Tensor:
        if self.x.device.type == "cpu":
            return torch.tensor([numbers], dtype=self.x.dtype)
        # A copy from the host would make it wait; to fill memory with a number does not.
        return torch.cat([self.x.new_full((1, 1), number) for number in numbers], dim=1)

    # What follows stays on the device: asking how long a sequence is would make the host wait for it.

    @cached_property
    def counts(self) -> Tensor:
        """How many samples each step has, where sequences differ in length, `[T]`."""
        assert self.offsets is not None
        return self.offsets.diff()

    def finals(self) -> list[Tensor]:
        """Each part of the state after each sample's last step: where it started, if it has none."""
        if not self.x.shape[0]:
            # A copy: an operator of torch must not return what it was given.
            return [start.clone() for start in self.states]
        if self.offsets is None:
            first, samples = 0 if self.reverse else self.x.shape[0] - self.samples, self.samples
            # A copy: the first history is the user's output, who may change it in place.
            return [history.narrow(0, first, samples).clone() for history in self.histories]
        # By masks, without asking for a number (`test_finals_of_ragged_sequences_need_no_number_on_the_host`).
        begun, last = self._last_lines(self.offsets)
        return [torch.where(begun, h[last], s) for h, s in zip(self.histories, self.states, strict=True)]

    def _last_lines(self, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples have a step at all, `[B, 1]`, and the line after which each ends."""
        sample = torch.arange(self.samples, device=offsets.device)
        length = (self.counts[None] > sample[:, None]).sum(1)
        # A sample without steps has no last line: any will do, since `begun` is false for it.
        last = torch.zeros_like(length) if self.reverse else (length - 1).clamp(min=0)
        return (length > 0)[:, None], torch.where(length > 0, offsets[last] + sample, 0)

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The place of each line among steps × samples, and which places are taken `[T, B, 1]`; none if all are."""
        device = self.x.device  # an exported program may have been moved, its offsets not
        if self.offsets is None:
            return torch.arange(self.x.shape[0], device=device), None
        valid = torch.arange(self.samples, device=device) < self.counts.to(device)[:, None]
        return valid.flatten().nonzero()[:, 0], valid[:, :, None]

    def padded(self, lines: Tensor, grid: Tensor) -> Tensor:
        """Lines as `[T, B, size]`, zeros where a sample has ended."""
        full = lines.new_zeros(self.steps * self.samples, lines.shape[1])
        return full.index_copy_(0, grid, lines).view(self.steps, self.samples, -1)


class Forward(NamedTuple):
    """What a run over sequences gives.

    Attributes:
        histories: each part of the state after each step, `[lines, size]`.
        finals: each part of the state after each sample's last step, `[B, size]`.
        saved: what else the backward loop needs, `[lines, …]`; none where it was not asked for.
    """

    histories: list[Tensor]
    finals: list[Tensor]
    saved: Tensor | None


class Gradients(NamedTuple):
    """Gradients of everything that went in; none of what was not asked for."""

    x: Tensor | None
    weights: dict[str, Tensor]
    states: list[Tensor]


class SingleStep(ABC):
    """One step of a cell, its weights prepared, for batches of some shapes."""

    @abstractmethod
    def prepare(self, x: Tensor, state: Sequence[Tensor]) -> None:
        """Prepares for a batch of this shape."""

    @abstractmethod
    def __call__(self, x: Tensor, state: Sequence[Tensor], *, reread: bool) -> State | None:
        """The new state, with the weights read again or as they were; none where this batch has not been prepared."""


class Backend(ABC):
    """Kernels for the tensors of one kind of device.

    Attributes:
        name: the type of the device, as torch has it.
        dtypes: of states, sums and equations.
        halves: to which factors of products may be rounded, where these are float32.
        costs: by which its plans are made.
        is_compared: whether torch's own kernels are taken where they were measured to be faster.
    """

    name: str
    dtypes: tuple[torch.dtype, ...]
    halves: tuple[torch.dtype, ...] = (torch.bfloat16,)
    costs: Costs
    is_compared = False

    @abstractmethod
    def obstacle(self) -> str | None:
        """Why this machine builds no kernels; none where it does."""

    @abstractmethod
    def obstacle_to(self, step: Step, kept: str, dtype: torch.dtype, products: torch.dtype | None = None) -> str | None:
        """Why the loops that a call needs cannot be built; none where they are there now.

        Args:
            step: a captured step.
            kept: what is kept for the backward loop: "fast" all that it needs, "lean" the states alone, "nothing"; or
                "stream", for single steps.
            dtype: one of `dtypes`.
            products: one of `halves`, if factors are rounded to it.
        """

    @abstractmethod
    def source(self, step: Step) -> str:
        """The text of a step's kernel."""

    @abstractmethod
    def forward(self, run: Sequences, *, keep: bool) -> Forward:
        """Runs the steps, and keeps what the backward loop needs, if `keep`. Fills in `run.histories`."""

    @abstractmethod
    def backward(
        self,
        run: Sequences,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        d_x: bool,
    ) -> Gradients:
        """The gradients of a run.

        Args:
            run: the run forward, with its histories.
            saved: what it kept; none to compute it again.
            d_output: gradient of the first history, or none.
            d_finals: gradients of the final states.
            wanted: names of the weights whose gradients are asked for.
            d_x: whether the gradient of the input is asked for.
        """

    def faster_elsewhere(
        self, device: torch.device, cell: str, hidden_size: int, samples: int | None, products: torch.dtype | None
    ) -> str | None:
        """Why torch's own kernel of a cell (the name of its class) is rather taken; none where this is faster."""
        return None

    def multiplier(self) -> str | None:
        """Who multiplies the large matrices of rounded runs, where bits depend on it; none if none ran."""
        return None

    def go_on_with(self, multiplier: str | None) -> None:  # noqa: B027  (a back end may have no choice)
        """Multiplies as the run of a checkpoint did, whose `multiplier` this was."""

    @abstractmethod
    def stream(self, step: Step, weights: Mapping[str, Tensor]) -> SingleStep:
        """One step of a cell over these weights, contiguous tensors of the device."""
