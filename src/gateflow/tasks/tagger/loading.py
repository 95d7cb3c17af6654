"""From the folder of a tagger's run back to its vocabulary and its model; what does not fit is refused first."""

from __future__ import annotations

from pathlib import Path

import torch

from gateflow.errors import RunError
from gateflow.remedies.initial_weights import Initialiser
from gateflow.runs.fit import Specs, refuse_other_specs, specs_of
from gateflow.runs.weights import load_weights, read_tensors, unique_tensors
from gateflow.tasks.tagger.config import TaggerNetworkConfig
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.vocabulary import Vocabulary, read_vocabulary

__all__ = ["build_model", "load_model", "load_vocabulary", "refuse_other_model"]


def build_model(config: TaggerNetworkConfig, vocabulary: Vocabulary) -> TaggerModel:
    """The network that `config` describes, with its initial weights."""
    with_crf = [c for c in vocabulary.columns if (c.scheme is not None if config.crf is None else config.crf)]
    model = TaggerModel(
        len(vocabulary.words) + 1,
        len(vocabulary.characters) + 1,
        {column.name: len(column.labels) for column in vocabulary.columns},
        {column.name: column.transitions() for column in with_crf},
        cell=config.cell,
        embedding_size=config.embedding_size,
        character_reader=None if config.characters == "none" else config.characters,
        character_size=config.character_size,
        hidden_size=config.hidden_size,
        num_layers=config.layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        word_dropout=config.word_dropout,
        skip=config.skip,
        weight_dropout=config.weight_dropout,
    )
    # Frozen here and not where the vectors are read: a resumed run builds its model anew.
    model.embedding.weight.requires_grad_(not config.frozen)
    if config.init:
        Initialiser.parse(config.init).apply(model)
    return model


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
    file = run.require(run.model_file, f"it appears with the first validation: gateflow resume {run.path}")
    config = run.config().model
    tensors, _ = read_tensors(file, lambda header: refuse_other_model(header.tensors, config, vocabulary, file))
    model = build_model(config, vocabulary)
    load_weights(model, tensors, file)
    return model.eval()


def refuse_other_model(found: Specs, config: TaggerNetworkConfig, vocabulary: Vocabulary, file: Path) -> None:
    """Refuse weights that are not those of this network, by their header; the network is built without memory.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    if config.layers > len(found):  # not even to be built without memory: each layer takes its time
        raise RunError(
            f"{file} does not fit the run's config.toml: it holds {len(found)} tensors, and config.toml asks for "
            f"{config.layers} layers."
        )
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"init": None})
    with torch.device("meta"):
        wanted = specs_of(unique_tensors(build_model(plain, vocabulary)))
    refuse_other_specs(found, wanted, file)
