"""Batches of sequences of about one length, whose order the seed and the epoch decide, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from gateflow.errors import ConfigError

__all__ = ["LengthBuckets"]

# Batches whose sequences are sorted together. In one sorted pool of all, each sequence would have the same neighbours
# in every epoch; in pools of this many batches hardly more is padding than in one (2 % of the steps on UD English).
POOL = 50


class LengthBuckets:
    """Which sequences make up which batch, in any epoch, from any batch on.

    An epoch is a random order of all sequences, cut into pools of 50 batches; each pool is sorted by length and cut
    into batches, and these come in random order. Every sequence is in one batch of an epoch; the last is smaller.

    Args:
        lengths: steps of each sequence.
        batch_size: sequences in a batch, those of all processes together.
        seed: decides the order, with the number of the epoch.
        rank, world_size: this process, and how many share each batch; every one of them has a sequence of each.

    Raises:
        ConfigError: fewer sequences, or a smaller batch, than processes.

    Example:
        >>> buckets = LengthBuckets([3, 9, 4, 8, 3], batch_size=2, seed=0)
        >>> len(buckets), sorted(i for batch in buckets.batches(epoch=0) for i in batch)
        (3, [0, 1, 2, 3, 4])
        >>> list(buckets.batches(epoch=1, start=2)) == list(buckets.batches(epoch=1))[2:]
        True
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        if min(batch_size, len(lengths)) < world_size:
            few = "the data" if len(lengths) < world_size else f"--batch-size {batch_size}"
            raise ConfigError(
                f"{few}: {min(batch_size, len(lengths))} sequences cannot be shared among {world_size} processes; "
                "start fewer."
            )
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._cuts())

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """The numbers of this process's sequences, batch by batch, from batch `start` of the epoch."""
        # A text, so that no two epochs of neighbouring seeds have one order.
        random = Random(f"{self.seed}/{epoch}")
        order = random.sample(range(len(self.lengths)), len(self.lengths))
        size = POOL * self.batch_size
        pools = (order[begin : begin + size] for begin in range(0, len(order), size))
        by_length = [i for pool in pools for i in sorted(pool, key=self.lengths.__getitem__)]
        cuts = self._cuts()
        random.shuffle(cuts)
        # Row by row and not in halves: each process has sequences of all lengths of the batch.
        return (by_length[begin:end][self.rank :: self.world_size] for begin, end in islice(cuts, start, None))

    def _cuts(self) -> list[tuple[int, int]]:
        count = len(self.lengths)
        begins = list(range(0, count, self.batch_size))
        # A last batch with less than a sequence for each process joins the one before.
        if count - begins[-1] < self.world_size:
            begins.pop()
        return list(zip(begins, [*begins[1:], count], strict=True))
