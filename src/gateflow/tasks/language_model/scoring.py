"""A language model of characters or of words as a search for texts asks it: how probable is each symbol here?

The search is `gateflow.decoding.ctc.prefix_beam_search`; its symbols are the classes of the network that is decoded.
"""

from __future__ import annotations

import logging
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from gateflow.data.tokenizer import END_OF_LINE, UNKNOWN, end_of_line, splits_into_characters, splits_into_words
from gateflow.errors import ConfigError, DataWarning
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun

__all__ = ["CharacterScorer", "Scorer", "WordScorer", "scorer"]

SPACE = " "
_RESERVED = {UNKNOWN, END_OF_LINE}
UNKNOWN_WORD = -10.0
"""That of pyctcdecode (`unk_score_offset`): added to log p(<unk>), it is less than most words of a vocabulary get."""
SHOWN = 10
"""Characters that a message names."""
told = logging.getLogger(__name__)


class Scorer(Protocol):
    """A `gateflow.decoding.ctc.LanguageModel`."""

    def start(self, rows: int) -> tuple[Tensor, Any]:
        """Log probabilities of the first symbol, `[rows, C]`, and the state of that many empty prefixes."""
        ...

    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """Read a symbol per row, `[R]`: log probabilities of the one that follows, `[R, C]`, and the new state."""
        ...


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
    tokenizer = load_tokenizer(run)
    if not splits_into_characters(tokenizer) and not splits_into_words(tokenizer):
        raise ConfigError(
            f"{run.path} has pieces of words for tokens, and a search for texts needs characters or words. Train a "
            "language model with --tokenizer char or --tokenizer word."
        )
    model = load_model(run).to(torch.accelerator.current_accelerator(check_available=True))
    # It is ours alone, so nobody changes its weights meanwhile.
    ExitStack().enter_context(model.recurrent.streaming())
    name = str(run.path)
    if splits_into_characters(tokenizer):
        return CharacterScorer(model, tokenizer, symbols, blank=blank, name=name)
    return WordScorer(model, tokenizer, symbols, blank=blank, name=name, unknown_word=unknown_word)


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
        _refuse_strangers(name, len(lacking) == len(symbols) - 1, symbols, blank)
        if lacking:
            warnings.warn(
                f"{name} does not know {len(lacking)} of the network's characters, which count as its unknown one: "
                f"{_named(lacking)}. Train it on texts that have them.",
                DataWarning,
                stacklevel=2,
            )
        known = set(symbols) | {UNKNOWN, "\n"}
        _tell_of_more(name, (token for token in tokenizer.get_vocab() if token not in known))
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
        logits, state = self.model.next_logits(numbers, state)
        return logits.log_softmax(1)[:, self._numbers], state


class WordScorer:
    """A language model whose tokens are words, asked at the end of each: at a space and at the end of the text.

    Within a word every symbol has the log probability 0, as long as the word can become one of the vocabulary. Where it
    cannot any longer, or ends too early, `unknown_word` is added, and at its end the logarithm of the probability of
    `<unk>`. The end of a line is the end of its last word, and no token of its own.

    Args:
        model: in evaluation mode.
        tokenizer: its own, of words.
        symbols, blank, unknown_word: see `scorer`.
        name: what the model is called in messages.

    Raises:
        ConfigError: the symbols have no space, or no word can be written with them.

    Example:
        >>> from gateflow.data.tokenizer import assemble
        >>> tokenizer = assemble("word", {UNKNOWN: 0, END_OF_LINE: 1, "a": 2, "ab": 3})
        >>> model = LanguageModel(4, embedding_size=4, hidden_size=4, num_layers=1).eval()
        >>> found = WordScorer(model, tokenizer, ["", " ", "a", "b"])
        >>> log_probs, state = found.start(rows=1)
        >>> log_probs.tolist()  # no word begins with b
        [[0.0, 0.0, 0.0, -10.0]]
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        symbols: Sequence[str],
        *,
        blank: int = 0,
        name: str = "the language model",
        unknown_word: float = UNKNOWN_WORD,
    ):
        self.model, self.device, self.unknown_word = model, model.bias.device, unknown_word
        if SPACE not in symbols:
            raise ConfigError(
                f"{name} is one of words, and the network has no space to end them. Take a language model of "
                "characters (--tokenizer char)."
            )
        self._ends = [blank, list(symbols).index(SPACE)]
        self._end = end_of_line(tokenizer)
        classes = {symbol: c for c, symbol in enumerate(symbols) if c not in self._ends}
        words = tokenizer.get_vocab()
        self._words = _Words(words, classes, len(symbols), unknown_word, self._ends)
        _refuse_strangers(name, not self._words.count, symbols, blank)
        _tell_of_more(name, set().union(*map(set, words.keys() - _RESERVED)) - classes.keys())

    @torch.no_grad()
    def start(self, rows: int) -> tuple[Tensor, Any]:
        """As of a `LanguageModel` of `gateflow.decoding.ctc`."""
        read = self._read(torch.full((rows,), self._end, device=self.device), None)
        return self._expected(state := {"node": torch.zeros(rows, dtype=torch.int64), **read}), state

    @torch.no_grad()
    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """As of a `LanguageModel` of `gateflow.decoding.ctc`."""
        before, new = state["node"], dict(state)
        new["node"] = torch.tensor(self._words.after(before.tolist(), tokens.tolist()))
        ended = ((tokens == self._ends[1]) & (before != 0)).nonzero()[:, 0]
        if len(ended):
            words = torch.tensor(self._words.numbers(before[ended].tolist()), device=self.device)
            at = ended.to(self.device)
            read = self._read(words, [tuple(part[at] for part in parts) for parts in state["recurrent"]])
            new |= {name: _replaced(state[name], at, part) for name, part in read.items()}
        return self._expected(new), new

    def _read(self, words: Tensor, state: Any) -> dict[str, Any]:
        """What is known after a word: the state, and of the next word's distribution what it takes to ask for one."""
        output, recurrent = self.model.recurrent.step(self.model.embedding(words), state)
        hidden = self.model.projection(output)
        return {"recurrent": recurrent, "hidden": hidden, "norm": self.model.scores(hidden).logsumexp(1)}

    def _expected(self, state: dict[str, Any]) -> Tensor:
        nodes = state["node"].tolist()
        found = torch.from_numpy(self._words.within(nodes))
        words = torch.tensor(self._words.numbers(nodes), dtype=torch.int64, device=self.device)
        output = self.model.output(words)
        of_word = (output * state["hidden"]).sum(1) + self.model.bias[words] - state["norm"]
        # Two spaces, or one at the beginning, have no word between them.
        of_word = of_word.cpu().double().masked_fill(state["node"] == 0, 0.0)
        found[:, self._ends] += of_word[:, None]
        return found


class _Words:
    """The words of a vocabulary as paths from node 0, symbol by symbol; -1 is a word that has become none of them.

    Args:
        vocabulary: words and their numbers, `<unk>` among them.
        classes: the classes of the letters.
        symbols: how many classes there are.
        unknown_word: see `scorer`.
        ends: the classes that end a word, or the text with it.
    """

    def __init__(
        self, vocabulary: dict[str, int], classes: dict[str, int], symbols: int, unknown_word: float, ends: list[int]
    ):
        self._symbols, self._unknown_word, self._ends = symbols, unknown_word, ends
        self._unknown, self.count = vocabulary[UNKNOWN], 0
        self._children, self._following = dict[int, int](), dict[int, list[int]]()
        self._number, self._rows = dict[int, int](), dict[int, np.ndarray]()
        for word in vocabulary.keys() - _RESERVED:
            path = [classes.get(letter, -1) for letter in word]
            if -1 not in path:
                self._add(path, vocabulary[word])

    def _add(self, path: list[int], number: int) -> None:
        node = 0
        for symbol in path:
            fresh = len(self._children) + 1
            child = self._children.setdefault(node * self._symbols + symbol, fresh)
            if child == fresh:
                self._following.setdefault(node, []).append(symbol)
            node = child
        self._number[node] = number
        self.count += 1

    def after(self, nodes: Iterable[int], symbols: Iterable[int]) -> list[int]:
        """The nodes after one more symbol; the end of a word leads back to node 0."""
        return [self._after(node, symbol) for node, symbol in zip(nodes, symbols, strict=True)]

    def _after(self, node: int, symbol: int) -> int:
        if symbol in self._ends:
            return 0
        return self._children.get(node * self._symbols + symbol, -1) if node >= 0 else -1

    def numbers(self, nodes: Iterable[int]) -> list[int]:
        """The tokens of the words that end at these nodes."""
        return [self._number.get(node, self._unknown) for node in nodes]

    def within(self, nodes: Sequence[int]) -> np.ndarray:
        """What is added for each symbol at these nodes, `[R, C]`, but for the word's own probability at its end."""
        return np.array([self._within(node) for node in nodes]).reshape(len(nodes), self._symbols)

    def _within(self, node: int) -> np.ndarray:
        row = self._rows.get(node)
        if row is None:
            row = self._rows[node] = np.full(self._symbols, self._unknown_word if node >= 0 else 0.0)
            row[self._following.get(node, [])] = 0.0
            if node == 0 or node in self._number:
                row[self._ends] = 0.0
        return row


def _replaced(whole: Any, at: Tensor, part: Any) -> Any:
    """A state with other rows `at` some places."""
    if isinstance(whole, Tensor):
        return whole.index_copy(0, at, part)
    return [tuple(map(lambda old, new: old.index_copy(0, at, new), a, b)) for a, b in zip(whole, part, strict=True)]


def _refuse_strangers(name: str, strangers: bool, symbols: Sequence[str], blank: int) -> None:
    if strangers:
        own = [symbol for c, symbol in enumerate(symbols) if c != blank]
        raise ConfigError(
            f"{name} has no text in common with the network, whose characters are {_named(own)}. Take a language model "
            "of texts in the same alphabet."
        )


def _tell_of_more(name: str, characters: Iterable[str]) -> None:
    more = sorted(characters)
    if more:
        told.info("%s knows %d characters that the network cannot write: %s", name, len(more), _named(more))


def _named(characters: Sequence[str]) -> str:
    """The first of some characters, with their numbers, since many look alike."""
    shown = [f"{c!r} ({_number(c)})" for c in characters[:SHOWN]]
    return ", ".join(shown) + (f" and {len(characters) - SHOWN} more" if len(characters) > SHOWN else "")


def _number(character: str) -> str:
    numbers = " ".join(f"U+{ord(c):04X}" for c in character)
    name = unicodedata.name(character, "") if len(character) == 1 else ""
    return f"{numbers} {name.lower()}".strip()
