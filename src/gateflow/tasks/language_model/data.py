"""From a configuration and its texts to a run that can be trained: tokenizer, tokens, initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateflow.data.held_out import held_out
from gateflow.data.source import STDIN
from gateflow.data.stream import TokenStream
from gateflow.data.text import readable_again
from gateflow.data.tokenizer import build_tokenizer
from gateflow.data.tokenizer_file import tokenizer_text
from gateflow.data.tokens import encode_file
from gateflow.errors import ConfigError, DataError
from gateflow.files import write
from gateflow.runs.new_run import new_run
from gateflow.tasks.language_model.config import DataConfig, LanguageModelConfig
from gateflow.tasks.language_model.loading import build_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.training.start import begin_run


def set_up(path: Path, config: LanguageModelConfig, *, force: bool = False) -> LanguageModelRun:
    """A new run: its tokenizer, its tokens, and a checkpoint of step 0.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a text is missing, is none, or is too small.
    """
    build_model(config.model, vocab_size=2)  # what the model refuses is refused before the text is read
    with new_run(LanguageModelRun, path, config, force=force) as run:
        write_tokens(run, config.data, config.training.batch_size)
        begin_run(run, config, lambda: begin(run, config))
    return LanguageModelRun.open(path)


def begin(run: LanguageModelRun, config: LanguageModelConfig) -> LanguageModel:
    """The network with its initial weights, and with the frequencies of the run's tokens."""
    size = load_tokenizer(run).get_vocab_size()
    model = build_model(config.model, size)
    # In one column of one step: only the counts are asked for.
    model.fit_frequencies(TokenStream(run.tokens_file("train"), 1, 1).frequencies(size))
    return model


def write_tokens(run: LanguageModelRun, data: DataConfig, columns: int) -> None:
    """Build the tokenizer from the training text, and encode both texts into the run."""
    tokens = run.tokens_file("train").parent
    tokens.mkdir()
    with _texts(data, tokens) as texts:
        tokenizer = build_tokenizer(data.tokenizer, texts[0], data.vocab_size)
        write(run.tokenizer_file, tokenizer_text(tokenizer))  # its own `save` raises a bare Exception
        for part, text in zip(("train", "valid"), texts, strict=True):
            count = encode_file(tokenizer, text, run.tokens_file(part)).tokens
            # Each column needs one token more than it predicts; how many a validation has follows from its text.
            columns = 1 if part == "valid" else columns
            if count <= columns:
                source = (data.valid if part == "valid" else None) or data.train
                raise DataError(_too_few(part, source, count, columns))


@contextmanager
def _texts(data: DataConfig, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The texts to learn from and to validate on, for the time of the block; both can be read more than once."""
    if data.train == data.valid == STDIN:
        raise ConfigError("--data - and --valid -: one text is piped in, and it cannot be both.")
    with readable_again(data.train, folder) as train:
        if data.valid:
            yield train, data.valid
            return
        with held_out(train, data.held_out, folder) as texts:
            yield texts


def _too_few(part: str, source: Path, count: int, columns: int) -> str:
    what = f"the {part} part of {source} has {count} token{'s' * (count != 1)}"
    if count < 2:
        return f"{what}: nothing is left to predict in it. Give more text."
    return f"{what}, too few for --batch-size {columns}; use --batch-size {count - 1} or less, or more text."
