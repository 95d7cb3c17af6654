"""From the folder of a run back to its tokenizer and its model; what does not fit config.toml is refused first."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from gateflow.data.tokenizer_file import LARGEST_FILE, read_tokenizer
from gateflow.errors import DataError, RunError
from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.language_model.config import ModelConfig
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun

__all__ = ["build_model", "load_model", "load_tokenizer", "refuse_other_model"]


def build_model(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """The network that `config` describes, with its initial weights."""
    model = LanguageModel(
        vocab_size,
        embedding_size=config.embedding_size,
        tied=config.tied,
        softmax_samples=config.softmax_samples or None,
        **config.of_layers(),
    )
    return config.with_initial_weights(model)


def load_tokenizer(run: LanguageModelRun) -> Tokenizer:
    """The tokenizer of a run.

    Raises:
        RunError: it is missing, damaged, or not one that gateflow writes.
    """
    remedy = "without it the weights mean nothing; restore it from a copy"
    file = run.require(run.tokenizer_file, remedy)
    if file.stat().st_size > LARGEST_FILE:  # before all of it is read for its checksum
        raise RunError(f"{file} is larger than {LARGEST_FILE >> 20} MiB, which no tokenizer of ours is; {remedy}.")
    run.unharmed(file, remedy)
    try:
        return read_tokenizer(file)
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; restore it from a copy.") from error


def load_model(run: LanguageModelRun) -> LanguageModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config, size = run.config().model, load_tokenizer(run).get_vocab_size()
    return load_best(
        run, lambda: build_model(config, size), lambda found, file: refuse_other_model(found, config, size, file)
    )


def refuse_other_model(found: Specs, config: ModelConfig, vocab_size: int, file: Path) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights and the probabilities of the samples are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"init": None, "softmax_samples": 0})
    refuse_other_network(found, config.layers, lambda: build_model(plain, vocab_size), file)
