"""How a run is cut: replicas divide the samples, the blocks of a replica its units, groups of samples come one by one.

A replica of few blocks needs more memory in each for weights, and more time for products; one of many takes longer to
exchange what it reads. Which is best is estimated by `_microseconds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gateflow.backends.cuda.exchange import Exchange
from gateflow.backends.cuda.machine import Machine
from gateflow.compiler.plan import Pass
from gateflow.errors import BuildError

__all__ = ["Grid", "Parts", "grid"]

NUMBER = 4
"""Bytes of a float32."""
CHUNK, SLICES = 32, 32
"""As in `native/recurrence.cuh`: columns that a warp fetches at once, and parts in which totals are added up."""

# Of an H100 (benchmarks/results): an exchange of 4 KB takes 0.6 µs, each further 16 KB another 0.9.
_EXCHANGE, _EXCHANGED_PER_US = 0.5, 20_000.0
# Multiply-adds that a multiprocessor makes in 1 µs from shared memory, half of what it could; bytes it reads of the L2.
_PRODUCTS_PER_US, _READ_PER_US = 100_000.0, 60_000.0


@dataclass(frozen=True)
class Parts:
    """Where what a block needs begins in its shared memory, in numbers, and where all of it ends."""

    stage: int
    partial: int
    sums: int
    gathered: int
    sliced: int
    totals: int
    end: int


@dataclass(frozen=True)
class Grid:
    """A cut.

    Attributes:
        exchange: the loop.
        sizes: what the widths of rows are.
        warps: of a block.
        batch: samples of the run.
        samples: of a group.
        replicas: that divide the groups.
        blocks: of a replica.
        weights_are_shared: whether the weights of a block lie in its shared memory.
    """

    exchange: Exchange
    sizes: Mapping[str, int]
    warps: int
    batch: int
    samples: int
    replicas: int
    blocks: int
    weights_are_shared: bool = True

    @property
    def groups(self) -> int:
        """How many groups of samples there are."""
        return -(-self.batch // self.samples)

    def share(self, width: str) -> int:
        """How many units of rows of a width a block owns: a multiple of four, which totals and products are cut in."""
        return 4 * -(-self.sizes[width] // (4 * self.blocks))

    def sums(self, p: Pass) -> int:
        """How many sums of products a block has in a pass, for each sample."""
        return self.share(p.width) * sum(term.count for term in p.terms)

    @cached_property
    def weights(self) -> int:
        """How many numbers of weights a block has."""
        passes = self.exchange.passes
        return sum(self.depth(t.columns) * self.share(p.width) * t.count for p in passes for t in p.terms)

    def depth(self, columns: tuple[str, ...]) -> int:
        """How long an operand is."""
        return sum(self.sizes[width] for width in columns)

    @cached_property
    def parts(self) -> Parts:
        """Where what a block needs lies in its shared memory."""
        passes, s = self.exchange.passes, self.samples
        sums, totals = max(map(self.sums, passes), default=0), max((len(p.totals) for p in passes), default=0)
        gathered = max((len(p.totals) * self.share(p.width) for p in passes), default=0)
        own = [self.warps * CHUNK * s, self.warps * sums * s, sums * s, gathered * s, totals * SLICES * s, totals * s]
        begins = [4 * -(-self.weights // 4) if self.weights_are_shared else 0]
        for size in own:
            begins.append(begins[-1] + size)
        return Parts(*begins)

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        return NUMBER * self.parts.end

    @property
    def microseconds(self) -> float:
        """About how long a step takes."""
        time = 0.0
        for each in self.exchange.passes:
            read = sum(self.depth(t.columns) for t in each.terms) + len(each.totals) * self.sizes[each.width] / 4
            if read:
                time += _EXCHANGE + read * self.samples * NUMBER / _EXCHANGED_PER_US
            for term in each.terms:
                rows = self.share(each.width) * term.count
                # A lane makes tiles of 4 rows, `32 / split` lanes at once; where there are fewer rows, the others wait.
                at_once = 16 if len(each.products) == 1 else 32
                made = at_once * -(-rows // at_once) * self.samples
                time += self.depth(term.columns) * made / _PRODUCTS_PER_US
                if not self.weights_are_shared:
                    time += self.depth(term.columns) * rows * NUMBER / _READ_PER_US
        return time * -(-self.groups // self.replicas)


def grid(exchange: Exchange, sizes: Mapping[str, int], batch: int, machine: Machine) -> Grid:
    """The cut that is estimated to take the least time.

    Raises:
        BuildError: this machine has too few multiprocessors, or too little memory in each.
    """
    found = [g for g in _cuts(exchange, sizes, batch, machine) if g.shared <= machine.shared]
    if not found:
        raise BuildError(
            f"a step of these sizes fits on no {machine.processors} multiprocessors "
            f"of {machine.shared // 1024} KB of shared memory each"
        )
    return min(found, key=lambda g: g.microseconds)


def _cuts(exchange: Exchange, sizes: Mapping[str, int], batch: int, machine: Machine) -> Iterator[Grid]:
    widest = max((sizes[p.width] for p in exchange.passes), default=1)
    for samples in (4, 8, 16):
        groups = -(-batch // samples)
        for replicas in range(1, min(groups, machine.processors) + 1):
            most = machine.processors // replicas
            share = 4 * -(-widest // (4 * most))
            for shared in (True, False):
                yield Grid(exchange, sizes, machine.warps, batch, samples, replicas, -(-widest // share), shared)
