"""From the folder of a classifier's run back to its labels, its tokens and its model; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.classifier.config import ClassifierNetworkConfig
from gateflow.tasks.classifier.labels import Labels, read_labels
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.vocabulary import Vocabulary, read_pieces_of_bpe, read_words

__all__ = ["build_model", "load_labels", "load_model", "load_vocabulary", "refuse_other_model"]

REMEDY = "without it the weights mean nothing; restore it from a copy"


def build_model(config: ClassifierNetworkConfig, vocabulary: Vocabulary, labels: Labels) -> ClassifierModel:
    """The network that `config` describes, with its initial weights."""
    model = ClassifierModel(
        len(vocabulary) + 1,
        len(labels),
        multi_label=labels.multi_label,
        embedding_size=config.embedding_size,
        bidirectional=config.bidirectional,
        read_out=config.read_out,
        word_dropout=config.word_dropout,
        **config.of_layers(),
    )
    # Frozen here and not where the vectors are read: a resumed run builds its model anew.
    model.embedding.weight.requires_grad_(not config.frozen)
    return config.with_initial_weights(model)


def load_labels(run: ClassifierRun) -> Labels:
    """The labels of a run.

    Raises:
        RunError: the file is missing, damaged, or none.
    """
    return read_labels(run.unharmed(run.labels_file, REMEDY), REMEDY)


def load_vocabulary(run: ClassifierRun) -> Vocabulary:
    """The tokens of a run.

    Raises:
        RunError: the file is missing, damaged, or none.
    """
    if run.config().data.tokenizer == "bpe":
        return read_pieces_of_bpe(run.unharmed(run.tokenizer_file, REMEDY), REMEDY)
    return read_words(run.unharmed(run.vocabulary_file, REMEDY), REMEDY)


def load_model(run: ClassifierRun, vocabulary: Vocabulary, labels: Labels) -> ClassifierModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config = run.config().model
    return load_best(
        run,
        lambda: build_model(config, vocabulary, labels),
        lambda found, file: refuse_other_model(found, config, vocabulary, labels, file),
    )


def refuse_other_model(
    found: Specs, config: ClassifierNetworkConfig, vocabulary: Vocabulary, labels: Labels, file: Path
) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"init": None})
    refuse_other_network(found, config.layers, lambda: build_model(plain, vocabulary, labels), file)
