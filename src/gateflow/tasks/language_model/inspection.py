"""A language model as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import islice, pairwise

import torch
from torch import Tensor

from gateflow.data.stream import token_file
from gateflow.data.tokenizer import (
    UNKNOWN,
    decode,
    encode_prompt,
    end_of_line,
    splits_into_characters,
    splits_into_words,
    unknown_in,
)
from gateflow.tasks.inspection import EXAMPLES, Steps, Texts
from gateflow.tasks.language_model.diagnosis import spelled
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun

__all__ = ["InspectedLanguageModel"]

# Tokens of the validation text in which lines are looked for, and how long a line is.
SEARCHED, SHORTEST, LONGEST = 100_000, 3, 60


class InspectedLanguageModel(Texts[LanguageModel]):
    """It reads the end of a line and then the tokens of a text, as it does while generating."""

    def __init__(self, run: LanguageModelRun):
        self.run, self.tokenizer, self.model = run, load_tokenizer(run), load_model(run)
        self.embedding = self.model.embedding
        self.outcomes = {"next": [spelled(self.tokenizer, i) for i in range(self.tokenizer.get_vocab_size())]}
        kinds = {"word": splits_into_words(self.tokenizer), "character": splits_into_characters(self.tokenizer)}
        self.step = next((name for name, is_it in kinds.items() if is_it), "token")

    @cached_property
    def _lines(self) -> list[str]:
        tokens = token_file(self.run.tokens_file("valid"))[:SEARCHED]
        ends = (tokens == end_of_line(self.tokenizer)).nonzero()[0].tolist()
        # A text without ends of lines is one line, of which the beginning is read.
        borders = [-1, *(ends or [min(len(tokens), LONGEST)])]
        lines = (tokens[a + 1 : b] for a, b in pairwise(borders))
        fitting = (line.tolist() for line in lines if SHORTEST <= len(line) <= LONGEST)
        found = dict.fromkeys(decode(self.tokenizer, line) for line in islice(fitting, 2 * EXAMPLES))
        return list(found)[:EXAMPLES] or [decode(self.tokenizer, tokens[:LONGEST].tolist())]

    def examples(self) -> Sequence[str]:
        """Lines of the validation text."""
        return self._lines

    def read(self, text: str) -> Steps:
        """The end of a line, and the tokens of the text."""
        ids = encode_prompt(self.tokenizer, text)
        names = tuple(spelled(self.tokenizer, i) for i in ids)
        unknown = tuple(word for word in unknown_in(self.tokenizer, text) if word != UNKNOWN)
        return Steps(names, torch.tensor(ids), unknown, before=1)

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What the output layer sees after each token."""
        return self.model.projection(self.model.recurrent(vectors)[0])[:, 0]

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """Of all tokens."""
        return {"next": self.model.scores(hidden)}

    def number(self, word: str) -> int | None:
        """Of a token that is a word."""
        return self.tokenizer.token_to_id(word) if self.step == "word" else None
