"""The language model as a run: text → tokens → model → `Task` of the training loop, and back from the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from gateflow.data.stream import TokenStream
from gateflow.data.tokenizer_file import LARGEST_FILE, read_tokenizer
from gateflow.errors import DataError, RunError
from gateflow.tasks.language_model import LanguageModel, detach, evaluate, perplexity
from gateflow.training.checkpoint import Start, State
from gateflow.training.config import ModelConfig, RunConfig
from gateflow.training.fit import Spec, Specs, refuse_other_specs, specs_of
from gateflow.training.initial import Initialiser
from gateflow.training.runs import Run
from gateflow.training.weights import load_weights, read_header, read_tensors, unique_tensors


def build_model(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """The network that `config` describes, with its initial weights."""
    model = LanguageModel(
        vocab_size,
        cell=config.cell,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        num_layers=config.layers,
        dropout=config.dropout,
        tied=config.tied,
        candidates=config.candidates or None,
        skip=config.skip,
        weight_dropout=config.weight_dropout,
    )
    if config.init:
        Initialiser.parse(config.init).apply(model)
    return model


def load_tokenizer(run: Run) -> Tokenizer:
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


def load_model(run: Run) -> LanguageModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    file = run.require(run.model_file, f"it appears with the first validation: gateflow resume {run.path}")
    config, size = run.config().model, load_tokenizer(run).get_vocab_size()
    tensors, _ = read_tensors(file, lambda header: _refuse_other_model(header.tensors, config, size, file))
    model = build_model(config, size)
    load_weights(model, tensors, file)
    return model.eval()


def _refuse_other_model(found: Specs, config: ModelConfig, vocab_size: int, file: Path) -> None:
    if config.layers > len(found):  # not even to be built without memory: each layer takes its time
        raise RunError(
            f"{file} does not fit the run's config.toml: it holds {len(found)} tensors, and config.toml asks for "
            f"{config.layers} layers."
        )
    refuse_other_specs(found, asked_for(config, vocab_size), file)


def asked_for(config: ModelConfig, vocab_size: int) -> dict[str, Spec]:
    """Type and shape of the weights that `config` asks for; the network is built without memory.

    Example:
        >>> asked_for(ModelConfig(hidden_size=1000000, embedding_size=2), 5)["recurrent.weight_hh_l0"].shape
        (4000000, 1000000)
    """
    plain = config.model_copy(update={"init": None, "candidates": 0})  # both compute with weights, and leave no others
    with torch.device("meta"):
        return specs_of(unique_tensors(build_model(plain, vocab_size)))


class LanguageModelTask:
    """The `Task` of predicting the next token; the hidden state is carried from window to window."""

    def __init__(self, run: Run, config: RunConfig, rank: int = 0, world_size: int = 1) -> None:
        batch_size, window = config.training.batch_size, config.training.window
        size = load_tokenizer(run).get_vocab_size()
        weights = read_header(run.checkpoint_file).group("model.")
        _refuse_other_model(weights, config.model, size, run.checkpoint_file)
        self.model: LanguageModel = build_model(config.model, size)
        remedy = "set the run up again with `gateflow train lm --force`"
        train, valid = (run.unharmed(run.tokens_file(part), remedy) for part in ("train", "valid"))
        self.train = TokenStream(train, batch_size, window, rank=rank, world_size=world_size)
        self.valid = TokenStream(valid, batch_size, window, rank=rank, world_size=world_size, whole=True)
        for stream in (self.train, self.valid):
            stream.refuse_others_than(size)

    def start(self) -> Start:
        """Zeros, one row for each column of the text that this process reads."""
        width = self.model.embedding.embedding_dim
        return self.model.recurrent.initial_state(self.model.bias.new_zeros(1, self.train.columns, width))

    def windows_per_epoch(self) -> int:
        """Windows in one pass over the training text."""
        return len(self.train)

    def windows(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets ``[T, B]``, in the order of the text in every epoch."""
        return self.train.windows(start)

    def loss(self, model: nn.Module, window: tuple[Tensor, Tensor], carried: State) -> tuple[Tensor, int, State]:
        """Mean cross-entropy per token, in nats."""
        device = self.model.bias.device
        inputs, targets = (part.to(device, non_blocking=True) for part in window)
        loss, state = model(inputs, targets, carried)
        return loss, targets.numel(), detach(state)

    def validate(self, model: nn.Module) -> tuple[float, int]:
        """Summed cross-entropy and tokens of the validation text."""
        return evaluate(self.model, self.valid)

    def figures(self, loss: float) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": perplexity(loss, 1)}
