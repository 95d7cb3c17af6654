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
from gateflow.compiler.plan import Pass, Row, Term
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
# Bytes of weights that matrix units are fed with from shared memory.
_FETCHED_PER_US = 150_000.0


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
        matrix_units: whether these make the products, of bfloat16.
        weights_are_shared: whether the weights of a block lie in its shared memory.
    """

    exchange: Exchange
    sizes: Mapping[str, int]
    warps: int
    batch: int
    samples: int
    replicas: int
    blocks: int
    matrix_units: bool
    weights_are_shared: bool

    @property
    def groups(self) -> int:
        """How many groups of samples there are."""
        return -(-self.batch // self.samples)

    def share(self, width: str) -> int:
        """How many units of rows of a width a block owns: a multiple of four, which totals and products are cut in."""
        return 4 * -(-self.sizes[width] // (4 * self.blocks))

    def length(self, width: str) -> int:
        """How many numbers a row takes on the tape; matrix units fetch eight at once."""
        return 8 * -(-self.sizes[width] // 8) if self.matrix_units else self.sizes[width]

    def depth(self, columns: tuple[str, ...]) -> int:
        """How long an operand is."""
        return sum(map(self.length, columns))

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Where each row begins on the tape."""
        lengths = [self.length(row.width) for row in self.exchange.rows]
        return tuple(sum(lengths[:k]) for k in range(len(lengths)))

    @cached_property
    def operands(self) -> int:
        """How many numbers of operands an entry of the tape has for each sample."""
        return sum(self.length(row.width) for row in self.exchange.rows)

    def column(self, row: Row) -> int:
        """Where a row begins on the tape; -1 if it is not there."""
        place = self.exchange.place(row)
        return -1 if place is None else self.columns[place]

    @cached_property
    def total_columns(self) -> tuple[int, ...]:
        """Where the totals of each pass begin, in words for each sample, and where an entry ends."""
        columns = [self.operands // 2 if self.matrix_units else self.operands]
        for each in self.exchange.passes:
            # Of four units each: then no order of a sum depends on how many units a block has.
            columns.append(columns[-1] + len(each.totals) * -(-self.sizes[each.width] // 4))
        return tuple(columns)

    def rows(self, p: Pass, term: Term) -> int:
        """How many sums of a product a block has, for each sample; the tiles of matrix units are whole."""
        rows = self.share(p.width) * term.count
        return 16 * -(-rows // 16) if self.matrix_units else rows

    def weights_of(self, p: Pass, term: Term) -> int:
        """How much memory the weights of a product take in a block, in numbers of float32."""
        depth = self.depth(term.columns)
        return CHUNK * -(-depth // CHUNK) * self.rows(p, term) // 2 if self.matrix_units else depth * self.rows(p, term)

    @cached_property
    def weights(self) -> int:
        """The same for all of its products."""
        return sum(self.weights_of(p, term) for p in self.exchange.passes for term in p.terms)

    @cached_property
    def parts(self) -> Parts:
        """Where what a block needs lies in its shared memory."""
        passes, s = self.exchange.passes, self.samples
        sums = max((sum(self.rows(p, term) for term in p.terms) for p in passes), default=0)
        totals = max((len(p.totals) for p in passes), default=0)
        gathered = max((len(p.totals) * self.share(p.width) for p in passes), default=0)
        stage = 0 if self.matrix_units else self.warps * CHUNK * s
        own = [stage, self.warps * sums * s, sums * s, gathered * s, totals * SLICES * s, totals * s]
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
        return -(-self.groups // self.replicas) * sum(map(self._microseconds, self.exchange.passes))

    def _microseconds(self, p: Pass) -> float:
        numbers = sum(self.depth(t.columns) for t in p.terms) / (2 if self.matrix_units else 1)
        numbers += len(p.totals) * self.sizes[p.width] / 4
        time = _EXCHANGE * (numbers > 0) + numbers * self.samples * NUMBER / _EXCHANGED_PER_US
        for term in p.terms:
            rows = self.rows(p, term)
            if self.matrix_units:
                time += self.weights_of(p, term) * NUMBER / _FETCHED_PER_US
            else:
                # A lane makes tiles of 4 rows, `32 / split` lanes at once; where there are fewer rows, others wait.
                at_once = 16 if len(p.products) == 1 else 32
                time += self.depth(term.columns) * at_once * -(-rows // at_once) * self.samples / _PRODUCTS_PER_US
            if not self.weights_are_shared:
                time += self.weights_of(p, term) * NUMBER / _READ_PER_US
        return time


def grid(exchange: Exchange, sizes: Mapping[str, int], batch: int, machine: Machine, *, matrix_units: bool) -> Grid:
    """The cut that is estimated to take the least time.

    Raises:
        BuildError: this machine has too few multiprocessors, or too little memory in each.
    """
    found = [g for g in _cuts(exchange, sizes, batch, machine, matrix_units) if g.shared <= machine.shared]
    if not found:
        raise BuildError(
            f"a step of these sizes fits on no {machine.processors} multiprocessors "
            f"of {machine.shared // 1024} KB of shared memory each"
        )
    return min(found, key=lambda g: g.microseconds)


def _cuts(
    exchange: Exchange, sizes: Mapping[str, int], batch: int, machine: Machine, matrix_units: bool
) -> Iterator[Grid]:
    widest = max((sizes[p.width] for p in exchange.passes), default=1)
    for samples in (8, 16) if matrix_units else (4, 8, 16):
        groups = -(-batch // samples)
        for replicas in range(1, min(groups, machine.processors) + 1):
            most = machine.processors // replicas
            blocks = -(-widest // (4 * -(-widest // (4 * most))))
            for shared in (True, False):
                yield Grid(
                    exchange, sizes, machine.warps[matrix_units], batch, samples, replicas, blocks, matrix_units, shared
                )
