"""From the folder of a tagger's run back to its vocabulary and its model; what does not fit is refused first."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.tagger.config import TaggerNetworkConfig
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.vocabulary import Vocabulary, read_vocabulary

__all__ = ["build_model", "load_model", "load_network", "load_vocabulary", "refuse_other_model"]


def build_model(config: TaggerNetworkConfig, vocabulary: Vocabulary) -> TaggerModel:
    """The network that `config` describes, with its initial weights."""
    with_crf = [c for c in vocabulary.columns if (c.scheme is not None if config.crf is None else config.crf)]
    model = TaggerModel(
        len(vocabulary.words) + 1,
        len(vocabulary.characters) + 1,
        {column.name: len(column.labels) for column in vocabulary.columns},
        {column.name: column.transitions() for column in with_crf},
        embedding_size=config.embedding_size,
        character_reader=None if config.characters == "none" else config.characters,
        character_size=config.character_size,
        bidirectional=config.bidirectional,
        word_dropout=config.word_dropout,
        **config.of_layers(),
    )
    # Frozen here and not where the vectors are read: a resumed run builds its model anew.
    model.embedding.weight.requires_grad_(not config.frozen)
    return config.with_initial_weights(model)


def load_vocabulary(run: TaggerRun) -> Vocabulary:
    """The vocabulary of a run.

    Raises:
        RunError: it is missing, damaged, or none.
    """
    remedy = "without it the weights mean nothing; restore it from a copy"
    return read_vocabulary(run.unharmed(run.vocabulary_file, remedy), remedy)


def load_model(run: TaggerRun, vocabulary: Vocabulary) -> TaggerModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config = run.config().model
    return load_best(
        run,
        lambda: build_model(config, vocabulary),
        lambda found, file: refuse_other_model(found, config, vocabulary, file),
    )


def refuse_other_model(found: Specs, config: TaggerNetworkConfig, vocabulary: Vocabulary, file: Path) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"init": None})
    refuse_other_network(found, config.layers, lambda: build_model(plain, vocabulary), file)


def load_network(run: TaggerRun) -> nn.Module:
    """The network of a run with its best weights, in eval mode, and nothing beside it.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
    """
    return load_model(run, load_vocabulary(run))
