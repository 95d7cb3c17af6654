"""An agreement run as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gateflow.data.agreement import vocabulary
from gateflow.errors import ConfigError
from gateflow.tasks.agreement.inference import load_model
from gateflow.tasks.agreement.model import AgreementModel
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.agreement.task import unseen_sentences
from gateflow.tasks.inspection import EXAMPLES, Steps, Texts

__all__ = ["InspectedAgreement"]


class InspectedAgreement(Texts[AgreementModel]):
    """It reads words of the grammar, and predicts the next one."""

    def __init__(self, run: AgreementRun):
        self.run, self.model = run, load_model(run)
        self.embedding = self.model.embedding
        self.outcomes = {"next": vocabulary()}
        self.numbers = {word: i for i, word in enumerate(self.outcomes["next"])}

    @cached_property
    def _sentences(self) -> list[str]:
        config = self.run.config()
        return [s.grammatical for s in unseen_sentences(config, min(EXAMPLES, config.data.tested))]

    def examples(self) -> Sequence[str]:
        """Sentences that the run has not learnt from."""
        return self._sentences

    def read(self, text: str) -> Steps:
        """The words of a text; the grammar has no others."""
        words = tuple(text.split())
        if strangers := [word for word in words if word not in self.numbers]:
            raise ConfigError(
                f"the grammar has no word {strangers[0]!r:.60}: write its words, separated by blanks, such as "
                "“the cats near the boat were full .”."
            )
        if not words:
            raise ConfigError("there is no word to read; type some, or choose a sentence.")
        return Steps(words, torch.tensor([self.numbers[word] for word in words]))

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """The hidden state after each word."""
        return self.model.layer(vectors)[0][:, 0]

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """Of all words."""
        return {"next": self.model.scores(hidden)}

    def number(self, word: str) -> int | None:
        """Of a word of the grammar."""
        return self.numbers.get(word)
