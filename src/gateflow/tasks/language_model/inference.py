"""Use of a finished language model: its perplexity on a text, and its own text."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from gateflow.data.stream import TokenStream
from gateflow.data.tokenizer import decode_stream, encode_prompt, unknown_in
from gateflow.data.tokens import encode_file
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.layers import Transformer
from gateflow.tasks.description import Figures, Given, Written
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel, columns_for, evaluate, perplexity
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.sampling import generate

# The most steps that are read at once: the state carries on, so that more change nothing but the memory they take.
STEPS = 1024
# Unknown words of a prompt that are told one by one.
TOLD = 10
# Characters read from a pipe, which may have no end.
LONGEST_PROMPT = 1 << 20


class Quality(NamedTuple):
    """How well a text was expected: perplexities, what was counted, and in how many stretches it was read."""

    perplexity: float
    word_perplexity: float
    loss: float
    tokens: int
    words: int
    stretches: int


def measure(run: LanguageModelRun, text: Path, columns: int = 1, context: int | None = None) -> Quality:
    """The quality of a run on a text that is read in stretches side by side: at most `columns`, none of them short.

    All tokens but the very first are predicted. The state carries on within a stretch and begins at zero, so one
    column is exact and the slowest; see `columns_for`. What a Transformer carries on is a cache of `context` steps,
    those of its training if left out.

    Raises:
        ConfigError: a context for recurrent layers, which carry on a state.
        DataError: the text is missing, is none, or is too short.
        RunError, NonFiniteError: the run's model cannot be used.
    """
    model, config = load_model(run), run.config()
    if context is not None:
        if not isinstance(model.layers, Transformer):
            raise ConfigError(f"--context {context} is how far a Transformer looks back, and {run.path} is recurrent.")
        model.layers.context = context
    with TemporaryDirectory() as folder:
        file = Path(folder, "tokens.npy")
        counts = encode_file(load_tokenizer(run), text, file)
        if counts.tokens < 2:
            raise DataError(f"{text} has {counts.tokens} token, so nothing is left to predict; give a longer text.")
        columns = columns_for(counts.tokens, columns)
        stream = TokenStream(file, columns, min(config.training.window, STEPS), whole=True)
        loss, predicted = evaluate(model.to(torch.accelerator.current_accelerator(check_available=True)), stream)
    # Tokens that are not predicted count as words that are not: with one column this is the very first.
    words = max(1, counts.words - (counts.tokens - predicted))
    return Quality(perplexity(loss, predicted), perplexity(loss, words), loss / predicted, predicted, words, columns)


def evaluate_run(given: Given, data: Path, batch_size: int, context: int | None) -> Figures:
    """The verb ``evaluate``: see `measure`."""
    found = measure(given.run, data, batch_size, context)
    figures: dict[str, Any] = found._asdict()
    lines = [
        f"perplexity per token  {_shown(found.perplexity)}   ({found.tokens:,} tokens)",
        f"perplexity per word   {_shown(found.word_perplexity)}   ({found.words:,} words)",
    ]
    if given.run.config().data.tokenizer == "char":
        figures["bits_per_character"] = found.loss / math.log(2)
        lines.append(f"bits per character    {figures['bits_per_character']:.3f}")
    if found.stretches > 1:
        lines.append(f"read in {found.stretches} stretches, each from an empty state; --batch-size 1 reads it as one")
    return Figures(figures, tuple(lines))


def _shown(perplexity: float) -> str:
    # That of a model that has diverged has hundreds of digits.
    return f"{perplexity:,.2f}" if perplexity <= 1e12 else f"{perplexity:.1e}"


def generate_from_run(given: Given, prompt: str | None, length: int, **options: Any) -> Written:
    """The verb ``generate``: a text that goes on from `prompt`, or from what is piped in; see `continue_text`."""
    text = _utf8(_piped(), "the text that is piped in") if prompt is None else _utf8(prompt, "--prompt")
    pieces = continue_text(given.run, text, length, **options)
    return Written(text, pieces, lambda new: {"prompt": text, "text": new, "length": length, **options})


def continue_text(run: LanguageModelRun, prompt: str, length: int, **options: Any) -> Iterator[str]:
    """Pieces of text that go on from `prompt`, `length` tokens in all; `options` are those of `generate`.

    Warns:
        DataWarning: words or characters of the prompt are unknown to the run.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        ConfigError: an option out of its range.
    """
    tokenizer = load_tokenizer(run)
    if strangers := unknown_in(tokenizer, prompt):
        told = ", ".join(map(repr, strangers[:TOLD])) + ", …" * (len(strangers) > TOLD)
        places = "its place" if len(strangers) == 1 else "their places"
        warnings.warn(f"the run has never seen {told} and reads <unk> in {places}.", DataWarning, stacklevel=3)
    ids = encode_prompt(tokenizer, prompt)
    model = load_model(run)
    tokens = _frozen(model, generate(model, ids, length, **options))
    pieces = decode_stream(tokenizer, chain(ids[-1:], tokens))
    next(pieces)  # the last word of the prompt: with it before them, the pieces begin with a space where one belongs
    return pieces


def _frozen(model: LanguageModel, tokens: Iterator[int]) -> Iterator[int]:
    """The tokens, drawn from a model whose weights nobody changes meanwhile."""
    with model.layers.streaming():
        yield from tokens


def _utf8(text: str, what: str) -> str:
    # In the locale C Python reads other bytes as halves of surrogate pairs, as it always does on the command line.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} is not UTF-8 ({error}); convert it with iconv.") from None
    return text


def _piped() -> str:
    if sys.stdin.isatty():
        return ""
    try:
        text = sys.stdin.read(LONGEST_PROMPT + 1)
    except UnicodeDecodeError as error:
        raise ConfigError(f"the text that is piped in is not UTF-8 ({error}); convert it with iconv.") from None
    if len(text) > LONGEST_PROMPT:
        raise ConfigError(f"more than {LONGEST_PROMPT:,} characters are piped in; give a shorter text to go on from.")
    return text.rstrip("\n")
