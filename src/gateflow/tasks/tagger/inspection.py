"""A tagger as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gateflow.data.tagged import TaggedSentence
from gateflow.errors import ConfigError
from gateflow.tasks.inspection import EXAMPLES, Inspected, Steps
from gateflow.tasks.tagger.encoding import encoded_batch
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import own_sentences

__all__ = ["InspectedTagger"]


class InspectedTagger(Inspected[TaggerModel]):
    """It reads words that are separated by blanks, and says the tags of each."""

    about = "step"

    def __init__(self, run: TaggerRun):
        self.run, self.vocabulary = run, load_vocabulary(run)
        self.model = load_model(run, self.vocabulary)
        self.outcomes = {column.name: column.labels for column in self.vocabulary.columns}

    @cached_property
    def _sentences(self) -> list[str]:
        return [" ".join(s.words) for s in own_sentences(self.run, self.vocabulary, "valid")[:EXAMPLES]]

    def examples(self) -> Sequence[str]:
        """Sentences of the validation part."""
        return self._sentences

    def example(self, number: int) -> Steps:
        """A sentence, its words as they were."""
        return self.read(self._sentences[number])

    def read(self, text: str) -> Steps:
        """The words of a text."""
        words = tuple(text.split())
        if not words:
            raise ConfigError("there is no word to read; type some, or choose a sentence.")
        return Steps(words, encoded_batch(self.vocabulary, [TaggedSentence(words, {}, line=0)]))

    def vectors(self, steps: Steps) -> Tensor:
        """The vectors of words, with those of their characters."""
        with torch.no_grad():
            return self.model.vectors(steps.data)

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What the layers say of each word."""
        return self.model.recurrent(vectors, lengths=steps.data.lengths)[0][:, 0]

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """Of the tags of each column; with a CRF what it adds up."""
        return {name: head(hidden) for name, head in zip(self.model.columns, self.model.heads, strict=True)}

    def log_probabilities(self, output: str, scores: Tensor) -> Tensor:
        """With a CRF the marginal ones, over all sequences of tags."""
        if (crf := self.model.crf(output)) is None:
            return super().log_probabilities(output, scores)
        found = crf.marginals(scores[:, None])[:, 0]
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()
