"""The tasks of Hochreiter and Schmidhuber (1997), experiments 4 and 6a, to the letter.

`gateflow.studies.memory` has the forms in which later papers use them: one length, numbers in [0, 1].

Source: Long short-term memory. Neural Computation 9(8), sections 5.4 and 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from gateflow.studies.memory import MemoryTask

CHECKED = 2000


@dataclass(frozen=True)
class OneLengthABatch(MemoryTask):
    """Lengths vary from batch to batch, from `length` to a tenth more; solved when none of 2,000 answers is wrong."""

    metric, solved_below = "share of wrong answers", 0.5 / CHECKED

    def drawn_steps(self, generator: Generator) -> int:
        """How long the sequences of the next batch are."""
        return int(torch.randint(self.length, self.length + self.length // 10 + 1, (), generator=generator))


class Adding1997(OneLengthABatch):
    """Experiment 4: of `T` numbers in [-1, 1] two are marked; answer with 0.5 + their sum / 4, within 0.04.

    The first is one of the first ten, the second another of the first half. Marks are 1; first and last step have -1
    (a number that should be marked there counts as 0).
    """

    shortest = 20
    input_size, output_size = 2, 1

    @property
    def chance(self) -> float:
        """The best constant, 0.5, is off by 0.04 where the sum is beyond 0.16: (1 - 0.08)², for even numbers."""
        return 0.92**2

    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``[T, B, 2]`` and ``[B]``."""
        steps, rows = self.drawn_steps(generator), torch.arange(size)
        values, marks = 2 * torch.rand(steps, size, generator=generator) - 1, torch.zeros(steps, size)
        first = torch.randint(0, 10, (size,), generator=generator)
        second = torch.randint(0, self.length // 2 - 1, (size,), generator=generator)
        second += second >= first  # one that is still unmarked
        marks[first, rows] = marks[second, rows] = 1.0
        marks[0] = marks[-1] = -1.0
        return torch.stack([values, marks], dim=-1), 0.5 + (values * (marks > 0)).sum(0) / 4

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs[:, 0], targets)

    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of answers that are off by 0.04 or more."""
        return ((outputs[:, 0] - targets).abs() >= 0.04).double().mean().item()


class TemporalOrder1997(OneLengthABatch):
    """Experiment 6a: in which order X and Y came, at steps 10 to 20 and 50 to 60, among a, b, c, d; E begins, B ends.

    An answer is right if no class's probability is off by 0.3 or more.
    """

    shortest = 100
    input_size, output_size = 8, 4

    @property
    def chance(self) -> float:
        """All four probabilities at 0.25: every answer is off by 0.75."""
        return 1.0

    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``[T, B, 8]``, one-hot in the order X Y a b c d E B, and ``[B]``: 2 × first + second."""
        steps, rows = self.drawn_steps(generator), torch.arange(size)
        symbols = torch.randint(2, 6, (steps, size), generator=generator)
        symbols[0], symbols[-1] = 6, 7
        first, second = torch.randint(0, 2, (2, size), generator=generator)
        for symbol, start in ((first, 10), (second, 50)):
            symbols[torch.randint(start, start + 11, (size,), generator=generator), rows] = symbol
        return F.one_hot(symbols, self.input_size).float(), 2 * first + second

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the four orders."""
        return F.cross_entropy(outputs, targets)

    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of answers with a probability that is off by 0.3 or more."""
        off = (outputs.softmax(-1) - F.one_hot(targets, self.output_size)).abs().amax(-1)
        return (off >= 0.3).double().mean().item()
