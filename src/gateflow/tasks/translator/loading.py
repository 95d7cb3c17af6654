"""From the folder of a translator's run back to its vocabularies and its model; what does not fit is refused first."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.documents import read_document
from gateflow.runs.fit import Specs
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.tokens import Kind, Tokens, Vocabularies, read_tokens

__all__ = [
    "Lengths",
    "build_model",
    "load_model",
    "load_network",
    "load_vocabularies",
    "longest_target",
    "most_tokens",
    "refuse_other_model",
]

# Tokens of a translation for each of the longest target that was learnt from, and some more: what is longer repeats
# itself. SCAN's longest targets have twice the length of those that its split by length learns from.
FOLD, MORE = 3, 10
REMEDY = "without it the weights mean nothing; restore it from a copy"


class Lengths(BaseModel):
    """What lengths.json holds: the tokens of the longest target that is learnt from, its end included."""

    model_config = ConfigDict(extra="forbid", strict=True)
    longest_target: int = Field(ge=1, le=1 << 20)


def build_model(config: TranslatorConfig, vocabularies: Vocabularies) -> TranslatorModel:
    """The network that `config` describes, with its initial weights."""
    network = config.model
    model = TranslatorModel(
        vocabularies.read,
        len(vocabularies.target),
        unknown=vocabularies.source.unknown,
        strange=vocabularies.target.unknown or 0,
        embedding_size=network.embedding_size,
        copy=network.pointer,
        joint=config.tokens.joint,
        tied=network.tied,
        word_dropout=network.word_dropout,
        label_smoothing=config.training.label_smoothing,
        **network.of_layers(),
    )
    return network.with_initial_weights(model)


def load_vocabularies(run: TranslatorRun) -> Vocabularies:
    """The vocabularies of a run.

    Raises:
        RunError: one is missing, damaged, or of another kind than config.toml asks for.
    """
    config = run.config()

    def read(side: str, kind: Kind) -> Tokens:
        return read_tokens(kind, run.unharmed(run.tokens_file(side), REMEDY), REMEDY)

    source = read("source", config.tokens.tokenizer)
    target = source if config.tokens.joint else read("target", config.tokens.of_targets)
    return Vocabularies(source, target, read("features", "word") if config.data.features is not None else None)


def most_tokens(run: TranslatorRun) -> int:
    """How many tokens a translation of a run may have, by the longest target that it has learnt from.

    Raises:
        RunError: the file that says so is missing or damaged.
    """
    return FOLD * longest_target(run) + MORE


def longest_target(run: TranslatorRun) -> int:
    """The tokens of the longest target that a run has learnt from, its end included.

    Raises:
        RunError: the file that says so is missing or damaged.
    """
    file = run.unharmed(run.lengths_file, REMEDY)
    return read_document(Lengths, file, 1 << 10, "does not say how long targets are", REMEDY).longest_target


def load_model(run: TranslatorRun, vocabularies: Vocabularies) -> TranslatorModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config = run.config()
    return load_best(
        run,
        lambda: build_model(config, vocabularies),
        lambda found, file: refuse_other_model(found, config, vocabularies, file),
    )


def refuse_other_model(found: Specs, config: TranslatorConfig, vocabularies: Vocabularies, file: Path) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"model": config.model.model_copy(update={"init": None})})
    refuse_other_network(found, config.model.layers, lambda: build_model(plain, vocabularies), file)


def load_network(run: TranslatorRun) -> nn.Module:
    """The network of a run with its best weights, in eval mode, and nothing beside it.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
    """
    return load_model(run, load_vocabularies(run))
