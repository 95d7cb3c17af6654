"""Stretches of series that training reads, other ones in each epoch, and series side by side as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.bucketing import LengthBuckets
from gateflow.tasks.forecaster.prepared import Prepared

__all__ = ["SeriesBatch", "Stretches", "side_by_side"]


@dataclass(frozen=True)
class SeriesBatch:
    """Series as tensors, padded at their ends.

    Attributes:
        read: ``[T, B, X]``, what the layers read.
        ahead: ``[T + horizon, B, U]``, what is known before it comes.
        lengths: ``[B]`` steps.
        wanted: ``[T, B, horizon, N]``, the departures from the naive forecast; NaN where none is to be learnt.
    """

    read: Tensor
    ahead: Tensor
    lengths: Tensor
    wanted: Tensor

    def to(self, device: torch.device) -> SeriesBatch:
        """The same on a device."""
        return SeriesBatch(*(getattr(self, part.name).to(device, non_blocking=True) for part in fields(self)))


def side_by_side(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> SeriesBatch:
    """Some `(read, ahead, wanted)` as one batch."""
    read, ahead, wanted = (pad_sequence([torch.from_numpy(a) for a in each]) for each in zip(*parts, strict=True))
    lengths = [len(part[0]) for part in parts]
    for row, length in enumerate(lengths):
        wanted[length:, row] = torch.nan  # beyond the end nothing is known
    return SeriesBatch(read, ahead, torch.tensor(lengths), wanted)


class Stretches:
    """The stretches of an epoch: of each series as many as cover it, begun at random places.

    What is forecast within a stretch may lie behind its end, and never behind what training may see.

    Args:
        series: of which the first `seen` steps are learnt from.
        window: steps of a stretch, at most.
        batch_size: stretches side by side, those of all processes together.
        seed: decides places and order, with the number of the epoch.
        rank, world_size: this process, and how many there are.
    """

    def __init__(
        self, series: Sequence[Prepared], window: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.series, self.window, self.seed = series, window, seed
        # The last step has nothing ahead of it that is seen.
        self.readable = [each.seen - 1 for each in series]
        counts = [-(-steps // window) for steps in self.readable]
        self.owner = [number for number, count in enumerate(counts) for _ in range(count)]
        lengths = [min(window, self.readable[number]) for number in self.owner]
        self.buckets = LengthBuckets(lengths, batch_size, seed, rank=rank, world_size=world_size)
        self.departures = [_seen_only(each) for each in series]

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int = 0) -> Iterator[SeriesBatch]:
        """The batches of this process, from number `start` of the epoch."""
        # A text, so that no two epochs of neighbouring seeds have the same places.
        random = Random(f"{self.seed}/{epoch}/places")
        places = [random.randint(0, max(0, self.readable[number] - self.window)) for number in self.owner]
        for rows in self.buckets.batches(epoch, start):
            yield side_by_side([self._cut(self.owner[row], places[row]) for row in rows])

    def _cut(self, number: int, begin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        each, departures = self.series[number], self.departures[number]
        end = min(begin + self.window, self.readable[number])
        return each.read[begin:end], each.ahead[begin : end + each.naive.shape[1]], departures[begin:end]


def _seen_only(series: Prepared) -> np.ndarray:
    """The departures ``[seen, horizon, N]``, without those of steps that training may not see."""
    found = series.departure()[: series.seen]
    steps, horizon = np.arange(len(found))[:, None], np.arange(1, found.shape[1] + 1)
    found[steps + horizon >= series.seen] = np.nan
    return found
