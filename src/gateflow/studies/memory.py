"""The three tasks on which memory over long lags is measured, in their published settings.

*Adding*: two numbers of many are marked; answer with their sum. *Copy*: ten symbols, a long pause, then repeat them.
*Temporal order*: two symbols far apart among noise; answer with their order. All are numbers and symbols without
meaning, so that nothing but memory over the lag solves them.

Sources: Hochreiter, Schmidhuber (1997), Long short-term memory, Neural Computation 9(8), experiments 4 and 6a.
Pascanu, Mikolov, Bengio (2013), arXiv:1211.5063, for the lags of temporal order. Le, Jaitly, Hinton (2015),
arXiv:1504.00941, for the range of adding. Arjovsky, Shah, Bengio (2016), arXiv:1511.06464, for copy and its baseline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from gateflow.errors import ConfigError


@dataclass(frozen=True)
class MemoryTask(ABC):
    """What the tasks have in common: random batches, a loss, a figure of failure, and what guessing scores.

    Args:
        length: steps ``T`` of the adding and temporal order tasks, of the pause in the copy task.
    """

    length: int = 100

    shortest: ClassVar[int] = 1
    input_size: ClassVar[int]
    output_size: ClassVar[int]
    reads_every_step: ClassVar[bool] = False
    metric: ClassVar[str]
    solved_below: ClassVar[float]

    def __post_init__(self) -> None:
        if self.length < self.shortest:
            name = type(self).__name__
            raise ConfigError(f"{name}(length={self.length}): the task needs a length of {self.shortest} or more.")

    @property
    def steps(self) -> int:
        """Time steps ``T`` of a sequence."""
        return self.length

    @property
    @abstractmethod
    def chance(self) -> float:
        """The metric of an answer that remembers nothing but is otherwise the best there is."""

    @abstractmethod
    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw inputs ``[T, B, input_size]`` and targets: ``[B]``, or ``[T, B]`` where every step is read."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of outputs ``[B, O]`` (or ``[T, B, O]``)."""

    @abstractmethod
    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """The ``metric``: 0 is perfect, ``chance`` is guessing, below ``solved_below`` is solved."""


class Adding(MemoryTask):
    """Add two marked numbers: input (number in [0, 1], mark), target their sum; one mark in each half.

    Guessing 1 has a mean squared error of 1/6, the variance of the sum. Solved below 0.01.

    Example:
        >>> inputs, targets = Adding(50).batch(3, torch.Generator().manual_seed(0))
        >>> inputs.shape, bool(((inputs[..., 0] * inputs[..., 1]).sum(0) == targets).all())
        (torch.Size([50, 3, 2]), True)
    """

    shortest = 2
    input_size, output_size = 2, 1
    metric, solved_below = "mean squared error", 0.01

    @property
    def chance(self) -> float:
        """1/6."""
        return 1 / 6

    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``[T, B, 2]`` and ``[B]``."""
        values = torch.rand(self.length, size, generator=generator)
        half, rows = self.length // 2, torch.arange(size)
        first = torch.randint(0, half, (size,), generator=generator)
        second = torch.randint(half, self.length, (size,), generator=generator)
        marks = torch.zeros_like(values)
        marks[first, rows] = marks[second, rows] = 1.0
        return torch.stack([values, marks], dim=-1), values[first, rows] + values[second, rows]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs[:, 0], targets)

    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """Mean squared error."""
        return self.loss(outputs, targets).item()


class Copy(MemoryTask):
    """Repeat ten of eight symbols after a pause of ``length`` steps, when a signal comes; ``T = length + 20``.

    Symbols are one-hot, 0 to 7, then blank and signal. Loss over all steps; an answer without memory, blank for
    ``length + 10`` steps and then guesses, scores ``10 ln 8 / (length + 20)`` nats. Solved below 0.001 nats a step.

    Example:
        >>> inputs, targets = Copy(30).batch(2, torch.Generator().manual_seed(0))
        >>> inputs.shape, bool((inputs[:10].argmax(-1) == targets[-10:]).all())
        (torch.Size([50, 2, 10]), True)
    """

    symbols, memorised, blank, signal = 8, 10, 8, 9
    input_size, output_size = 10, 9
    reads_every_step = True
    metric, solved_below = "nats a step", 0.001

    @property
    def steps(self) -> int:
        """``length + 20``: the symbols, the pause, and the symbols again."""
        return self.length + 2 * self.memorised

    @property
    def chance(self) -> float:
        """``10 ln 8 / (length + 20)``."""
        return self.memorised * math.log(self.symbols) / self.steps

    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``[length + 20, B, 10]`` and ``[length + 20, B]``."""
        many = self.memorised
        symbols = torch.randint(0, self.symbols, (many, size), generator=generator)
        # Blank but for the symbols, the signal and their repetition.
        inputs, targets = torch.full((2, self.steps, size), self.blank)
        inputs[:many], inputs[-many - 1], targets[-many:] = symbols, self.signal, symbols
        return F.one_hot(inputs, self.input_size).float(), targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over all steps."""
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """Mean cross-entropy over all steps."""
        return self.loss(outputs, targets).item()


class TemporalOrder(MemoryTask):
    """Say in which order two symbols came: XX, XY, YX or YY, among four others of noise.

    The first stands in ``[0.1 T, 0.2 T)``, the second in ``[0.5 T, 0.6 T)``. One-hot inputs: X, Y, then the noise.
    Guessing errs in 3 of 4. Solved below 1 % of errors.

    Example:
        >>> inputs, targets = TemporalOrder(50).batch(2, torch.Generator().manual_seed(0))
        >>> inputs.shape, inputs[..., :2].sum(0).sum(-1)
        (torch.Size([50, 2, 6]), tensor([2., 2.]))
    """

    shortest = 10
    input_size, output_size = 6, 4
    metric, solved_below = "error rate", 0.01

    @property
    def chance(self) -> float:
        """3/4."""
        return 0.75

    def batch(self, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``[T, B, 6]`` and ``[B]``: 2 × first + second, where X is 0 and Y is 1."""
        rows = torch.arange(size)
        # 0 and 1 are X and Y; the four others are noise.
        symbols = torch.randint(2, 6, (self.length, size), generator=generator)
        first, second = torch.randint(0, 2, (2, size), generator=generator)
        # Tenths of the length, as Pascanu et al. (2013) scale the task.
        for symbol, start in ((first, 1), (second, 5)):
            low, high = self.length * start // 10, self.length * (start + 1) // 10
            symbols[torch.randint(low, high, (size,), generator=generator), rows] = symbol
        return F.one_hot(symbols, self.input_size).float(), 2 * first + second

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the four orders."""
        return F.cross_entropy(outputs, targets)

    def failure(self, outputs: Tensor, targets: Tensor) -> float:
        """Share of wrong answers."""
        return (outputs.argmax(dim=-1) != targets).double().mean().item()
