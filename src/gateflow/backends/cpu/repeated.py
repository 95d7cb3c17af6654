"""A run that is made again with other tensors of the same shapes, as most are: its numbers stand, but for addresses.

Numbers are written once, by the code that writes those of any run, for tensors that stand in: which number points into
which of them, and how far, is then known. Later runs put their own addresses there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor

from gateflow.backends.base import Sequences
from gateflow.backends.cpu.arguments import TO_PACK, Prepared

__all__ = ["Repeated", "Repeats", "may_be_repeated", "stand_in", "stand_ins"]

LARGEST = 1 << 24
"""Bytes of the input up to which a run is repeated: in larger ones Python takes no share that shows."""
KEPT = 64
"""Shapes that are remembered at most, of each loop."""
_LEAST_ADDRESS = 1 << 24
"""Sizes, strides and counts are smaller than any address, and than this."""

Made = TypeVar("Made")
_address = Tensor.data_ptr  # looked up once: a run asks some twenty tensors


class Repeats(Generic[Made]):
    """What has been made for runs of some shapes; each serves one run at a time."""

    def __init__(self) -> None:
        self._free: dict[Hashable, list[Made]] = {}

    def take(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """One that is free, or a new one."""
        free = self._free.get(key)
        try:
            return free.pop() if free else make()
        # Another thread may take the last one in between.
        except IndexError:
            return make()

    def give(self, key: Hashable, made: Made) -> None:
        """Back, for the next run."""
        if key not in self._free and len(self._free) >= KEPT:
            self._free.clear()
        self._free.setdefault(key, []).append(made)


class Repeated:
    """The numbers of a run, and where in them the addresses of its tensors stand.

    Args:
        prepared: the run, over tensors that stand in.
        lists: the other numbers that it points to.
        tensors: those that stand in, in the order in which later runs give theirs.
        constants: what every run reads; all that the run points to is one of these, or stands in.

    Raises:
        LookupError: a number points to something else, such as a copy that was made on the way.
    """

    def __init__(
        self,
        prepared: Prepared,
        lists: Sequence[array],
        tensors: Sequence[Tensor],
        constants: Sequence[Tensor | array] = (),
    ):
        blocks = [prepared.numbers, *lists]
        self.prepared, self.numbers, self.to_pack = prepared, prepared.numbers, prepared.numbers[TO_PACK]
        self.constants = [*blocks, *constants, *([] if prepared.bounds is None else [prepared.bounds])]
        known = sorted((*_extent(each), k) for k, each in enumerate([*tensors, *self.constants]))
        begins = [begin for begin, _, _ in known]
        if any(begin == other != 0 for begin, other in pairwise(begins)):
            raise LookupError("two tensors begin at one address")
        self.rooms = list[tuple[array, int, int, int]]()
        for numbers in blocks:
            for at, value in enumerate(numbers):
                if value >= _LEAST_ADDRESS:
                    begin, end, k = known[bisect_right(begins, value) - 1]
                    if not begin <= value <= end:
                        raise LookupError(f"number {at} points to nothing that is known")
                    if k < len(tensors):
                        self.rooms.append((numbers, at, k, value - begin))
        prepared.held = None  # what stood in is no longer needed

    def __call__(self, tensors: Sequence[Tensor]) -> None:
        """The run over other tensors."""
        addresses = [*map(_address, tensors)]
        for numbers, at, k, offset in self.rooms:
            numbers[at] = addresses[k] + offset
        self.numbers[TO_PACK] = self.to_pack
        self.prepared()


def may_be_repeated(run: Sequences) -> bool:
    """Whether a run is one of those that come again: small, its samples equally long, without zoneout."""
    x = run.x
    # A line of an input that is expanded is not its own: the products that follow a loop would read a copy.
    return run.offsets is None and not run.holds and 0 < x.nbytes <= LARGEST and x.stride(0) >= x.shape[1]


def stand_in(tensor: Tensor) -> Tensor:
    """Memory like that of a tensor."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def stand_ins(run: Sequences) -> Sequences:
    """The same run over tensors that stand in."""
    weights = {name: stand_in(weight) for name, weight in run.weights.items()}
    states, histories = [*map(stand_in, run.states)], [*map(stand_in, run.histories)]
    made = Sequences(run.step, stand_in(run.x), weights, states, (), None, run.reverse, run.products)
    made.histories = histories
    return made


def _extent(memory: Tensor | array) -> tuple[int, int]:
    """Where it begins and ends."""
    if isinstance(memory, array):
        begin, count = memory.buffer_info()
        return begin, begin + count * memory.itemsize
    count = 1 + sum((n - 1) * stride for n, stride in zip(memory.shape, memory.stride(), strict=True))
    return memory.data_ptr(), memory.data_ptr() + (count * memory.itemsize if memory.numel() else 0)
