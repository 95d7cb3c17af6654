"""A language model of characters as a search asks it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from gateflow.data.tokenizer import UNKNOWN, end_of_line
from gateflow.errors import DataWarning
from gateflow.tasks.language_model.alphabets import named, refuse_strangers, tell_of_more
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.rows import step

__all__ = ["CharacterScorer"]


class CharacterScorer:
    r"""A language model whose tokens are characters; a text begins behind the end of a line, and ends with one.

    Args:
        model: in evaluation mode.
        tokenizer: its own, of characters.
        symbols, blank: see `scorer`.
        name: what the model is called in messages.

    Raises:
        ConfigError: the model knows none of the symbols.

    Warns:
        DataWarning: symbols that the model does not know.

    Example:
        >>> from gateflow.data.tokenizer import assemble
        >>> tokenizer = assemble("char", {UNKNOWN: 0, "\n": 1, "a": 2, "b": 3})
        >>> model = LanguageModel(4, embedding_size=4, hidden_size=4, num_layers=1).eval()
        >>> found = CharacterScorer(model, tokenizer, ["", "b", "a"])
        >>> log_probs, state = found.start(rows=2)
        >>> log_probs, state = found.advance(state, torch.tensor([1, 2]))
        >>> log_probs.shape  # of "b" and "a", and in the blank's column of the end
        torch.Size([2, 3])
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        symbols: Sequence[str],
        *,
        blank: int = 0,
        name: str = "the language model",
    ):
        self.model, self.device = model, model.bias.device
        self._end, unknown = end_of_line(tokenizer), tokenizer.token_to_id(UNKNOWN)
        found = [tokenizer.token_to_id(symbol) for symbol in symbols]
        lacking = [s for c, (s, k) in enumerate(zip(symbols, found, strict=True)) if k is None and c != blank]
        refuse_strangers(name, len(lacking) == len(symbols) - 1, symbols, blank)
        if lacking:
            warnings.warn(
                f"{name} does not know {len(lacking)} of the network's characters, which count as its unknown one: "
                f"{named(lacking)}. Train it on texts that have them.",
                DataWarning,
                stacklevel=2,
            )
        known = set(symbols) | {UNKNOWN, "\n"}
        tell_of_more(name, (token for token in tokenizer.get_vocab() if token not in known))
        numbers = [unknown if k is None else k for k in found]
        numbers[blank] = self._end
        self._numbers = torch.tensor(numbers, device=self.device)

    def start(self, rows: int) -> tuple[Tensor, Any]:
        """As of a `LanguageModel` of `gateflow.decoding.ctc`."""
        return self._read(torch.full((rows,), self._end, device=self.device), None)

    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """As of a `LanguageModel` of `gateflow.decoding.ctc`."""
        return self._read(self._numbers[tokens.to(self.device)], state)

    @torch.no_grad()
    def _read(self, numbers: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = step(self.model, numbers, state)
        return self.model.scores(hidden).log_softmax(1)[:, self._numbers], state
