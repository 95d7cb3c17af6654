"""What the inspector asks of a task: what its model reads, step by step, and what the outputs of a step mean.

A task derives `Inspected` and names a function that makes one as `inspect` of its description. The inspector knows no
task: whatever it shows, it computes from this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError

__all__ = ["About", "Inspected", "Steps", "Texts"]

About = Literal["next", "step", "whole", "nothing"]

# Examples that can be chosen from, and in which the inspector looks for what is alike.
EXAMPLES = 100


@dataclass(frozen=True)
class Steps:
    """What a model reads.

    Attributes:
        names: of the steps, as people read them.
        data: what the task makes vectors of.
        unknown: words that the model has never seen and reads as one and the same.
        before: how many steps stand before those of the text, such as the end of a line.
    """

    names: tuple[str, ...]
    data: Any
    unknown: tuple[str, ...] = ()
    before: int = 0


M = TypeVar("M", bound=nn.Module)


class Inspected(ABC, Generic[M]):
    """A model, what it can be asked, and in which words.

    Attributes:
        about: what a row of scores is about: the "next" step, its own "step", the "whole" sequence, or "nothing" that
            could be chosen (memory and gates are shown all the same).
        step: what a step is called: word, character, frame.
        typed: whether a text can be typed; else one of the examples is chosen.
        model: in eval mode, on the CPU.
        outcomes: for each output of the model, such as the columns of a tagger, the names of what can be chosen.
    """

    about: About = "next"
    step: str = "word"
    typed: bool = True
    model: M
    outcomes: Mapping[str, Sequence[str]]

    @abstractmethod
    def examples(self) -> Sequence[str]:
        """What can be chosen from: texts, or names of examples."""

    @abstractmethod
    def example(self, number: int) -> Steps:
        """One of the examples, as the model reads it."""

    def read(self, text: str) -> Steps:
        """A text as the model reads it.

        Raises:
            ConfigError: the task reads no texts, or there is nothing to be read in it.
        """
        raise ConfigError("this run reads no text; choose one of its examples.")

    @abstractmethod
    def vectors(self, steps: Steps) -> Tensor:
        """What the recurrent layers read, ``[T, 1, E]``."""

    @abstractmethod
    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What the scores are made of, ``[N, F]``: a row for each step, or one for the whole."""

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """For each output the scores ``[n, K]`` of some rows of `hidden`; nothing where there is nothing to choose."""
        return {}

    def log_probabilities(self, output: str, scores: Tensor) -> Tensor:
        """Of the scores ``[N, K]`` of all rows; by default each row sums to one."""
        return scores.log_softmax(-1)

    def number(self, word: str) -> int | None:
        """The number of a word among the outcomes of a model that predicts the next one, if it knows it."""
        return None

    def with_device_of(self, tensor: Tensor) -> Tensor:
        """The tensor on the model's device."""
        return tensor.to(next(self.model.parameters()).device)


class Texts(Inspected[M]):
    """A model that predicts the next token from numbers of tokens, ``data`` of its steps being ``int64 [T]``.

    Its module reads vectors of tokens: ``embedding(numbers)``.
    """

    embedding: nn.Module

    def vectors(self, steps: Steps) -> Tensor:
        """The vectors of the tokens."""
        with torch.no_grad():
            return self.embedding(self.with_device_of(steps.data)[:, None])

    def example(self, number: int) -> Steps:
        """A text out of the examples."""
        return self.read(self.examples()[number])
