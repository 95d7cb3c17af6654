"""What a run needs of the machine that kernels are built for and run on: a card, or in tests its emulation on a CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from typing import NamedTuple

__all__ = ["Function", "Machine", "Variant"]


class Variant(NamedTuple):
    """For what one kernel of a text is built.

    Attributes:
        samples: of a group, see `native/recurrence.cuh`.
        weights_are_shared: whether the weights of a block lie in its shared memory.
        many_products: whether products share one copy of their loop.
        matrix_units: whether products are made by these, of bfloat16.
        warps: of a block; products divide their depth among them.
    """

    samples: int
    weights_are_shared: bool
    many_products: bool
    matrix_units: bool
    warps: int

    def definitions(self) -> dict[str, int]:
        """What the text is told."""
        given = {
            "GATEFLOW_WARPS": self.warps,
            "GATEFLOW_SAMPLES": self.samples,
            "GATEFLOW_WEIGHTS_ARE_SHARED": int(self.weights_are_shared),
            "GATEFLOW_MATRIX_UNITS": int(self.matrix_units),
        }
        return given | ({"GATEFLOW_MANY_PRODUCTS": 1} if self.many_products else {})


class Function(ABC):
    """A kernel that is built and loaded."""

    @abstractmethod
    def __call__(self, blocks: int, shared: int, arguments: array[int]) -> None:
        """Launches so many blocks, with so many bytes of shared memory each.

        Raises:
            BuildError: the machine refuses the launch.
        """


class Machine(ABC):
    """One card.

    Attributes:
        processors: blocks that run at the same time, one on each multiprocessor.
        shared: bytes of shared memory that a block may have.
        warps: of a block, where products are made by multiply-adds, and by matrix units.
    """

    processors: int
    shared: int
    warps: tuple[int, int]

    @abstractmethod
    def function(self, text: str, name: str, variant: Variant) -> Function:
        """The kernel of a text, built at its first use.

        Raises:
            BuildError: it cannot be built.
        """

    def captures(self) -> bool:
        """Whether launches are recorded for a graph, and not carried out."""
        return False

    def wait(self) -> None:
        """Until all that was launched has ended."""
        return

    def failure(self) -> int:
        """The address of a number that a kernel sets when it gives up; 0 where there is none."""
        return 0
