"""A classifier as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gateflow.data.labelled import LabelledText
from gateflow.errors import ConfigError
from gateflow.tasks.classifier.batches import Encoded
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.inputs.texts import TextEncoder
from gateflow.tasks.classifier.loading import input_of, load
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels
from gateflow.tasks.inspection import EXAMPLES, Inspected, Steps

__all__ = ["InspectedClassifier"]


class InspectedClassifier(Inspected[ClassifierModel]):
    """It reads a text or an example of its validation part, and says its labels, or those of each step."""

    def __init__(self, run: ClassifierRun):
        self.run, self.learnt = run, load(run)
        self.model, targets = self.learnt.model, self.learnt.targets
        self.about = "step" if targets.per_step else "whole"
        self.outcomes = {"label": targets.names} if isinstance(targets, Labels) else {"number": ["number"]}
        self.kind = input_of(run.config())
        # Texts can be typed, series and sounds cannot.
        self.typed = isinstance(self.learnt.encoder, TextEncoder)
        self.step = "token" if self.typed else "step"

    @cached_property
    def _examples(self) -> list[Any]:
        return own_examples(self.run, self.learnt.targets, "valid")[:EXAMPLES]

    def examples(self) -> Sequence[str]:
        """Texts, or what examples are called."""
        if self.typed:
            return [example.text for example in self._examples]
        return [str(next(iter(self.kind.called(example).values()))) for example in self._examples]

    def example(self, number: int) -> Steps:
        """An example of the validation part."""
        return self._steps(self._examples[number])

    def read(self, text: str) -> Steps:
        """The tokens of a text."""
        return self._steps(LabelledText(text, (), line=1)) if self.typed else super().read(text)

    def _steps(self, example: Any) -> Steps:
        names = tuple(self.learnt.encoder.names(example))
        if not names:
            raise ConfigError("there is nothing to read; type some words, or choose an example.")
        return Steps(names, Encoded(self.learnt.encoder, [example]).batch([0]))

    def vectors(self, steps: Steps) -> Tensor:
        """The vectors of tokens, or the values of steps."""
        with torch.no_grad():
            return self.model.vectors(steps.data)

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What is read out, or what the layers say of each step."""
        hidden, lengths = self.model.hidden(vectors, steps.data), steps.data.lengths
        if self.model.read_out is None:
            return hidden[:, 0]
        return self.model.read_out(hidden, lengths, self.model.recurrent.bidirectional)

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """Of labels, or the number itself."""
        return {name: self.model.head(hidden) for name in self.outcomes}

    def log_probabilities(self, output: str, scores: Tensor) -> Tensor:
        """As calibrated; of several labels each by itself. A number has none, and is given back."""
        if self.model.kind == "number":
            return scores
        calibrated = scores / self.model.temperature
        return torch.nn.functional.logsigmoid(calibrated) if self.model.kind == "labels" else calibrated.log_softmax(-1)
