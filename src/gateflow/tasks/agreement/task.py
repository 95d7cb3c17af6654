"""Agreement as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import torch
from torch import Tensor, nn

from gateflow.data.agreement import Sentence, split
from gateflow.errors import ConfigError
from gateflow.remedies.initial_weights import Initialiser
from gateflow.runs.fit import refuse_other_specs, specs_of
from gateflow.runs.weights import read_header, unique_tensors
from gateflow.tasks.agreement.config import DISTANCES, AgreementConfig, ReaderConfig
from gateflow.tasks.agreement.model import AgreementModel, SentenceBatch, agrees, batches, loss
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["AgreementTask", "build_model", "sentences_of", "unseen_sentences"]


def build_model(config: ReaderConfig) -> AgreementModel:
    """The network that `config` describes, with its initial weights."""
    model = AgreementModel(config.cell, config.embedding_size, config.hidden_size)
    if config.init:
        Initialiser.parse(config.init).apply(model)
    return model


def sentences_of(config: AgreementConfig) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences to learn from, and those to test on; the seed decides, so that none need be kept."""
    data = config.data
    return split(data.sentences, data.tested, config.training.seed, DISTANCES[data.distances])


def unseen_sentences(config: AgreementConfig, count: int) -> list[Sentence]:
    """So many of the sentences to test on; they are drawn before those to learn from, which need not be made.

    Raises:
        ConfigError: there are not so many.
    """
    if count > config.data.tested:
        raise ConfigError(f"--sentences {count}: the run has {config.data.tested} that it has never learned from.")
    return split(0, count, config.training.seed)[1]


class AgreementTask:
    """The `Task` of giving the right form of the verb a higher score than the wrong one.

    Raises:
        ConfigError: there are several processes.
        RunError: the checkpoint is not one of this network.
    """

    metric: Metric = ("accuracy", "max")
    unit = "sentences"

    def __init__(self, run: AgreementRun, config: AgreementConfig, rank: int = 0, world_size: int = 1) -> None:
        if world_size > 1:
            raise ConfigError(f"the task agreement trains in one process, not in {world_size}; leave torchrun out.")
        self.config = config
        self.model: AgreementModel = build_model(config.model)
        # Whatever config.toml has become since, the checkpoint has to fit it.
        header = read_header(run.checkpoint_file)
        refuse_other_specs(header.group("model."), specs_of(unique_tensors(self.model)), run.checkpoint_file)
        self.train, self.test = sentences_of(config)

    def start(self) -> Start:
        """Nothing: each sentence is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the sentences; the last may be smaller."""
        return -(-len(self.train) // self.config.training.batch_size)

    def batches(self, epoch: int, start: int) -> Iterator[SentenceBatch]:
        """The batches in an order that seed and epoch decide."""
        # Epoch 0 has the order of the study.
        seed = self.config.training.seed + epoch
        return islice(batches(self.train, self.config.training.batch_size, seed), start, None)

    def loss(self, model: nn.Module, batch: SentenceBatch, carried: State) -> tuple[Tensor, int, State]:
        """Mean nats of the verb plus the share of all words."""
        device = self.model.embedding.weight.device
        return loss(self.model, batch.to(device), self.config.model.word_share), len(batch.verb), None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Summed loss and right verbs of the test sentences."""
        device, nats, right = self.model.embedding.weight.device, 0.0, 0
        for batch in batches(self.test, self.config.training.batch_size, seed=0):
            here = batch.to(device)
            # The mean of a batch times its rows: batches differ in size.
            nats += loss(self.model, here, self.config.model.word_share).item() * len(batch.verb)
            right += int(agrees(self.model, here).sum())
        return {"loss": nats, "accuracy": right}, len(self.test)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Nothing more than the means."""
        return {}
