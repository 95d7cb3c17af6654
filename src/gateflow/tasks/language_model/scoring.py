"""A language model of characters or of words as a search for texts asks it: how probable is each symbol here?

The search is `gateflow.decoding.ctc.prefix_beam_search`; its symbols are the classes of the network that is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from gateflow.data.tokenizer import splits_into_characters, splits_into_words
from gateflow.errors import ConfigError
from gateflow.tasks.language_model.character_scorer import CharacterScorer
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.word_scorer import UNKNOWN_WORD, WordScorer

__all__ = ["Scorer", "scorer"]

Scorer = CharacterScorer | WordScorer
"""Each is a `LanguageModel` of `gateflow.decoding.ctc`."""


def scorer(
    run: LanguageModelRun, symbols: Sequence[str], *, blank: int = 0, unknown_word: float = UNKNOWN_WORD
) -> Scorer:
    """The best model of a run, for a network with these classes.

    Args:
        run: of the task `lm`, its tokens characters or words.
        symbols: what each class stands for, `C` texts; that of the blank is not looked at.
        blank: the class that stands for no symbol.
        unknown_word: added to the logarithm of the probability of `<unk>` for a word that a word model does not know.

    Raises:
        ConfigError: the run's tokens are neither characters nor words, it has nothing in common with the symbols, or
            it has words and the symbols have no space.
        RunError, NonFiniteError: the run's model cannot be used.

    Warns:
        DataWarning: characters that a character model does not know; they count as its unknown token.
    """
    if run.config().model.is_transformer:
        # Rows of a search have texts of several lengths in one state, which a cache of steps has no room for.
        raise ConfigError(
            f"{run.path} is a Transformer, and a search for texts needs recurrent layers; train a language model with "
            "--model recurrent."
        )
    tokenizer = load_tokenizer(run)
    if not splits_into_characters(tokenizer) and not splits_into_words(tokenizer):
        raise ConfigError(
            f"{run.path} has pieces of words for tokens, and a search for texts needs characters or words. Train a "
            "language model with --tokenizer char or --tokenizer word."
        )
    model = load_model(run).to(torch.accelerator.current_accelerator(check_available=True))
    # It is ours alone, so nobody changes its weights meanwhile.
    ExitStack().enter_context(model.layers.streaming())
    name = str(run.path)
    if splits_into_characters(tokenizer):
        return CharacterScorer(model, tokenizer, symbols, blank=blank, name=name)
    return WordScorer(model, tokenizer, symbols, blank=blank, name=name, unknown_word=unknown_word)
