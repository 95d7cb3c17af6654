"""From the folder of a transcriber's run back to what it has learnt; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.transcriber.alphabet import Alphabet, read_alphabet
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.front import ConvolutionFront
from gateflow.tasks.transcriber.inputs import INPUTS
from gateflow.tasks.transcriber.inputs.base import Encoder, Input
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.model import TranscriberModel
from gateflow.tasks.transcriber.run import REMEDY, TranscriberRun

__all__ = ["build_model", "input_of", "load", "load_alphabet", "load_encoder", "load_network", "refuse_other_model"]


def load(run: TranscriberRun) -> Learnt:
    """The best model of a run so far, with all that goes with it.

    Raises:
        RunError: a file is missing, damaged, or not that of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config, encoder, alphabet = run.config(), load_encoder(run), load_alphabet(run)
    model = load_best(
        run,
        lambda: build_model(config, encoder, alphabet),
        lambda found, file: refuse_other_model(found, config, encoder, alphabet, file),
    )
    return Learnt(model, encoder, alphabet)


def input_of(config: TranscriberConfig) -> Input:
    """The kind of lines that a run has."""
    return INPUTS[config.kind]


def load_encoder(run: TranscriberRun) -> Encoder:
    """How a run reads lines.

    Raises:
        RunError: a file is missing, damaged, or none.
    """
    return input_of(run.config()).load(run)


def load_alphabet(run: TranscriberRun) -> Alphabet:
    """What a run can write.

    Raises:
        RunError: the file is missing, damaged, or none.
    """
    return read_alphabet(run.unharmed(run.alphabet_file, REMEDY), REMEDY)


def build_model(config: TranscriberConfig, encoder: Encoder, alphabet: Alphabet) -> TranscriberModel:
    """The network that a configuration describes, with its initial weights."""
    network, kind = config.model, input_of(config)
    front = None
    if network.front == "conv":
        front = ConvolutionFront(
            encoder.width,
            size=config.front_size,
            reduce=config.reduction,
            is_picture=kind.is_picture,
            causal=not network.bidirectional,
        )
    model = TranscriberModel(
        encoder.width,
        len(alphabet) + 1,
        front=front,
        bidirectional=network.bidirectional,
        augment=kind.augment(config) if config.training.augment else None,
        **network.of_layers(),
    )
    return network.with_initial_weights(model)


def refuse_other_model(
    found: Specs, config: TranscriberConfig, encoder: Encoder, alphabet: Alphabet, file: Path
) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"model": config.model.model_copy(update={"init": None})})
    refuse_other_network(found, config.model.layers, lambda: build_model(plain, encoder, alphabet), file)


def load_network(run: TranscriberRun) -> nn.Module:
    """The network of a run with its best weights, in eval mode, and nothing beside it.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
    """
    return load(run).model
