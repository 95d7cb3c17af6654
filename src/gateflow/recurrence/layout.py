"""How sequences lie in memory for kernels: all samples of a step together, the samples of a step those still running.

    x [T, B, I], lengths (3, 1, 2)   →   lines   t=0: a c b   t=1: a c   t=2: a        offsets 0 3 5 6

Samples are sorted by falling length, so that the samples of a step are a prefix of those of the step before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gateflow.recurrence import reference

__all__ = ["EvenLayout", "Layout", "RaggedLayout", "layout_of"]


def layout_of(x: Tensor, lengths: Tensor | None) -> Layout:
    """The layout of sequences `[T, B, …]` of these lengths; none if all are `T` long."""
    return EvenLayout(x.shape[0], x.shape[1]) if lengths is None else RaggedLayout.of(lengths, x.shape[0])


class EvenLayout(NamedTuple):
    """All samples have the same length: steps follow each other as they are."""

    steps: int
    samples: int
    offsets: None = None

    def lines(self, x: Tensor) -> Tensor:
        """`[T, B, size]` as lines `[T·B, size]`; a view, where numbers of a line lie side by side."""
        lines = x.reshape(self.steps * self.samples, x.shape[2])
        # Kernels know a stride between lines and none between numbers: those of a transposed input were read wrong.
        return lines if lines.stride(1) == 1 else lines.contiguous()

    def padded(self, lines: Tensor) -> Tensor:
        """Lines as `[T, B, size]`."""
        return lines.view(self.steps, self.samples, lines.shape[1])

    def sorted(self, part: Tensor) -> Tensor:
        """`[B, size]` in the order of the lines of a step: as it is."""
        return part

    unsorted = sorted

    def time_reversed(self, x: Tensor) -> Tensor:
        """`x [T, B, …]` from each sample's last step to its first."""
        return x.flip(0)


@dataclass(frozen=True)
class RaggedLayout:
    """Samples sorted by falling length, their steps without gaps.

    Attributes:
        steps: `T`.
        lengths: of the samples as they were given, `[B]`.
        order: the sample of each place; `places` is the inverse, the place of each sample.
        offsets: where each step begins, `[T + 1]`.
        taken: the place of each line among steps × samples, as they were given.
    """

    steps: int
    lengths: Tensor
    order: Tensor
    places: Tensor
    offsets: Tensor
    taken: Tensor

    @classmethod
    def of(cls, lengths: Tensor, steps: int) -> RaggedLayout:
        """The layout for samples of these lengths in `steps` steps."""
        falling, order = lengths.sort(descending=True, stable=True)  # stable: equal lengths keep their order
        valid = torch.arange(steps, device=lengths.device)[:, None] < falling
        counts = valid.sum(1)
        sample = valid.nonzero()  # the one place that must know how many lines there are: memory is asked for
        taken = sample[:, 0] * len(order) + order[sample[:, 1]]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(steps, lengths, order, order.argsort(), offsets, taken)

    def lines(self, x: Tensor) -> Tensor:
        """`[T, B, size]` as lines, without what lies beyond a sample's end."""
        # Left out, not masked: padding may be NaN, and is not computed either.
        return x.flatten(0, 1).index_select(0, self.taken)

    def padded(self, lines: Tensor) -> Tensor:
        """Lines as `[T, B, size]`, zero beyond a sample's end."""
        # Sorted lines go back to the order that was given in the same copy.
        full = lines.new_zeros(self.steps * len(self.order), lines.shape[1])
        return full.index_copy_(0, self.taken, lines).view(self.steps, len(self.order), lines.shape[1])

    def sorted(self, part: Tensor) -> Tensor:
        """`[B, size]` in the order of the lines of a step."""
        return part.index_select(0, self.order)

    def unsorted(self, part: Tensor) -> Tensor:
        """What `sorted` has sorted."""
        return part.index_select(0, self.places)

    def time_reversed(self, x: Tensor) -> Tensor:
        """`x [T, B, …]` from each sample's last step to its first."""
        return reference.reverse(x, self.lengths)


Layout = EvenLayout | RaggedLayout
