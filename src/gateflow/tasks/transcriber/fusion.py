"""A run of a language model beside a transcriber: how likely it holds the texts of a search, character by character."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gateflow.data.tokenizer import UNKNOWN, splits_into_characters, splits_into_words
from gateflow.errors import ConfigError, DataWarning
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.prediction import Decoding

__all__ = ["CharacterModel", "WordModel", "decoding_of", "language_model"]

# Prefixes that a search keeps if a language model is to choose among them.
BEAM = 16
# Characters that a message names.
NAMED = 20


def decoding_of(
    alphabet: Alphabet, beam: int | None, nbest: int, lm: Path | None, weight: float, insertion: float
) -> Decoding:
    """How texts are chosen, as it is asked for on the command line.

    Raises:
        RunError, NonFiniteError: the run of the language model cannot be used.
        ConfigError: it does not fit, or what only a search has is asked of the best path.

    Warns:
        DataWarning: the language model does not know all characters.
    """
    model = None if lm is None else language_model(lm, alphabet)
    wanted = beam if beam is not None else BEAM if model is not None or nbest > 1 or insertion else 0
    return Decoding(wanted, nbest, model, weight, insertion)


def language_model(path: Path, alphabet: Alphabet) -> CharacterModel | WordModel:
    """The language model of a run, over the characters of a transcriber.

    Raises:
        RunError, NonFiniteError: the run cannot be used.
        ConfigError: it is of another task, or its tokens are neither characters nor words; or it knows less than half
            of the characters.

    Warns:
        DataWarning: it does not know all of them.
    """
    run = LanguageModelRun.open(path)
    if (task := run.task()) != "lm":
        raise ConfigError(f"--lm {path} is a run of the task {task!r:.80}; name one that `gateflow train lm` has made.")
    tokenizer, model = load_tokenizer(run), load_model(run)
    vocabulary = tokenizer.get_vocab()
    if splits_into_words(tokenizer):
        if " " not in alphabet.classes:
            raise ConfigError(
                f"--lm {path} knows words, and this transcriber writes no spaces; take one of characters."
            )
        return WordModel(model, vocabulary, alphabet)
    if not splits_into_characters(tokenizer):
        raise ConfigError(
            f"--lm {path}: its tokens are parts of words, and a search goes character by character; train one with "
            "`gateflow train lm --tokenizer char`."
        )
    _tell_unknown([x for x in alphabet.characters if x not in vocabulary], alphabet, path)
    return CharacterModel(model, vocabulary, alphabet)


class CharacterModel:
    """A language model of characters: ``log p(character | all before)``, a line end before and behind each text.

    Args:
        model: in eval mode.
        vocabulary: its tokens by name.
        alphabet: of the transcriber; a character that the model does not know is its unknown one.
    """

    def __init__(self, model: LanguageModel, vocabulary: dict[str, int], alphabet: Alphabet) -> None:
        self.model, self.device = model, model.bias.device
        self.end = vocabulary["\n"]
        # Class 0, the blank, stands for the end of a text.
        tokens = [self.end, *(vocabulary.get(x, vocabulary[UNKNOWN]) for x in alphabet.characters)]
        self.tokens = torch.tensor(tokens, device=self.device)

    def start(self, rows: int) -> tuple[Tensor, Any]:
        """Of the first character, ``[rows, C]``, and the state of as many empty texts."""
        return self._read(torch.full((rows,), self.end, device=self.device), None)

    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """Read a character per row, ``[R]``: of the one that follows, ``[R, C]``, and the new state."""
        return self._read(self.tokens[tokens.to(self.device)], state)

    @torch.inference_mode()
    def _read(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        scores, state = self.model.next_logits(tokens, state)
        return scores.float().log_softmax(-1)[:, self.tokens], state


class WordModel:
    """A language model of words: ``log p(word | words before)`` falls due with the space behind a word, or at the end.

    Within a word every character is as good as any other, so a search must be wide enough to reach its end. That a
    text ends is not counted.

    Args:
        model: in eval mode.
        vocabulary: its words by number.
        alphabet: of the transcriber, with a space.
    """

    def __init__(self, model: LanguageModel, vocabulary: dict[str, int], alphabet: Alphabet) -> None:
        self.model, self.vocabulary, self.alphabet = model, vocabulary, alphabet
        self.space = alphabet.classes[" "]

    def start(self, rows: int) -> tuple[Tensor, WordState]:
        """Of the first character, ``[rows, C]``, and the state of as many empty texts."""
        first = torch.full((rows,), self.vocabulary["<eos>"], device=self.model.bias.device)
        log_probs, state = self._read(first, None)
        return self._due([""] * rows, log_probs), WordState([""] * rows, log_probs, state)

    def advance(self, state: WordState, tokens: Tensor) -> tuple[Tensor, WordState]:
        """Read a character per row, ``[R]``: of the one that follows, ``[R, C]``, and the new state."""
        classes = tokens.tolist()
        ended = [i for i, found in enumerate(classes) if found == self.space and state.words[i]]
        words = [
            "" if found == self.space else word + self.alphabet.text([found])
            for word, found in zip(state.words, classes, strict=True)
        ]
        log_probs, layers = state.log_probs, state.layers
        if ended:
            rows = torch.tensor(ended, device=log_probs.device)
            numbers = torch.tensor([self._number(state.words[i]) for i in ended], device=log_probs.device)
            found, new = self._read(numbers, [tuple(x[rows] for x in layer) for layer in layers])
            log_probs = log_probs.index_copy(0, rows, found)
            layers = [
                tuple(old.index_copy(0, rows, x) for old, x in zip(layer, fresh, strict=True))
                for layer, fresh in zip(layers, new, strict=True)
            ]
        return self._due(words, log_probs), WordState(words, log_probs, layers)

    def _due(self, words: Sequence[str], log_probs: Tensor) -> Tensor:
        found = log_probs.new_zeros(len(words), len(self.alphabet) + 1)
        numbers = torch.tensor([self._number(word) for word in words], device=log_probs.device)
        due = log_probs.gather(1, numbers[:, None])[:, 0]
        due = torch.where(torch.tensor([bool(word) for word in words], device=due.device), due, 0)
        found[:, 0] = found[:, self.space] = due
        return found

    def _number(self, word: str) -> int:
        return self.vocabulary.get(word, self.vocabulary[UNKNOWN])

    @torch.inference_mode()
    def _read(self, numbers: Tensor, state: Any) -> tuple[Tensor, Any]:
        scores, state = self.model.next_logits(numbers, state)
        return scores.float().log_softmax(-1), state


class WordState:
    """What a `WordModel` knows of some prefixes: the word that each is in, and what may come after those before."""

    def __init__(self, words: list[str], log_probs: Tensor, layers: Any) -> None:
        self.words, self.log_probs, self.layers = words, log_probs, layers

    @property
    def device(self) -> torch.device:
        """Where its numbers lie."""
        return self.log_probs.device

    def select(self, index: Tensor) -> WordState:
        """Some of the rows, in this order."""
        at = index.to(self.device)
        layers = [tuple(x[at] for x in layer) for layer in self.layers]
        return WordState([self.words[i] for i in index.tolist()], self.log_probs[at], layers)

    def join(self, other: WordState) -> WordState:
        """The rows of both."""
        layers = [
            tuple(torch.cat(both) for both in zip(ours, theirs, strict=True))
            for ours, theirs in zip(self.layers, other.layers, strict=True)
        ]
        return WordState(self.words + other.words, torch.cat([self.log_probs, other.log_probs]), layers)


def _tell_unknown(unknown: Sequence[str], alphabet: Alphabet, path: Path) -> None:
    if not unknown:
        return
    told = (
        f"--lm {path} does not know {len(unknown):,} of the {len(alphabet):,} characters: "
        f"{', '.join(map(repr, unknown[:NAMED]))}"
    )
    if 2 * len(unknown) > len(alphabet):
        raise ConfigError(f"{told}. It is of another alphabet; train one on texts like those of the lines.")
    warnings.warn(f"{told}; they are unlikely to it.", DataWarning, stacklevel=4)
