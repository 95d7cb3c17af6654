"""A translator as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gateflow.data.parallel import ParallelText
from gateflow.tasks.inspection import EXAMPLES, Inspected, Steps
from gateflow.tasks.translator.data import own_pairs
from gateflow.tasks.translator.encoding import EncodedPairs, source_tokens
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.run import TranslatorRun

__all__ = ["InspectedTranslator"]


class InspectedTranslator(Inspected[TranslatorModel]):
    """It reads a pair of its validation part: encoder and decoder are shown, and nothing is chosen between."""

    about, step, typed = "nothing", "token", False

    def __init__(self, run: TranslatorRun):
        self.run, self.vocabularies = run, load_vocabularies(run)
        self.model = load_model(run, self.vocabularies)
        self.outcomes = {}

    @cached_property
    def _pairs(self) -> list[ParallelText]:
        return own_pairs(self.run, "valid")[:EXAMPLES]

    def examples(self) -> Sequence[str]:
        """Sources with their targets."""
        return [" → ".join([pair.source, *pair.targets[:1]]) for pair in self._pairs]

    def example(self, number: int) -> Steps:
        """The tokens of the source; the decoder reads those of the target."""
        encoded = EncodedPairs(self.vocabularies, [self._pairs[number]], copying=self.model.pointer is not None)
        return Steps(tuple(source_tokens(encoded, 0)), encoded.batch([0]))

    def vectors(self, steps: Steps) -> Tensor:
        """Nothing that could be varied."""
        return torch.zeros(len(steps.names), 1, 0)

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """Nothing that is shown: encoder and decoder run."""
        self.model(steps.data)
        return torch.zeros(len(steps.names), 0)
