"""What a run needs of the machine that kernels are built for and run on: a card, or in tests its emulation on a CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array

__all__ = ["Function", "Machine"]


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
        warps: of a block.
    """

    processors: int
    shared: int
    warps: int

    @abstractmethod
    def function(self, text: str, name: str) -> Function:
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
