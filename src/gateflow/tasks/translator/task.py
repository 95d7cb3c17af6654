"""Translation as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.layers.evaluating import evaluating
from gateflow.runs.weights import read_header
from gateflow.tasks.translator.batches import TranslationBatch
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import own_pairs
from gateflow.tasks.translator.encoding import EncodedPairs
from gateflow.tasks.translator.loading import build_model, load_vocabularies, refuse_other_model
from gateflow.tasks.translator.measures import Measures
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.prediction import predict
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.search import Search
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["TranslatorTask"]

# Pairs that are translated at a validation: a share of exact ones is known to two percent, and they take a second.
TRANSLATED = 500
# Of these figures less is better.
LESS = ("loss", "error_rate")


class TranslatorTask:
    """The `Task` of giving each source its target.

    A validation counts the loss and the right tokens of all pairs, where each token is asked for after right ones, and
    translates some of them greedily.

    Raises:
        ConfigError: more processes than pairs in a batch.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    unit = "tokens"

    def __init__(self, run: TranslatorRun, config: TranslatorConfig, rank: int = 0, world_size: int = 1) -> None:
        self.vocabularies, self.name = load_vocabularies(run), config.training.metric
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        weights = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(weights, config, self.vocabularies, run.checkpoint_file)
        self.model: TranslatorModel = build_model(config, self.vocabularies)
        copying, size = config.model.pointer, config.training.batch_size
        self.train = EncodedPairs(self.vocabularies, own_pairs(run, "train"), copying=copying)
        # By the target first: its scores are most of the work.
        by_length = [target * 2**20 + min(source, 2**20 - 1) for source, target in self.train.lengths]
        self.buckets = LengthBuckets(by_length, size, config.training.seed, rank=rank, world_size=world_size)
        valid = own_pairs(run, "valid")
        # Evenly among them, for a file may be sorted; each process translates its share.
        self.translated = valid[:: -(-len(valid) // TRANSLATED)][rank::world_size]
        self.valid = EncodedPairs(self.vocabularies, valid[rank::world_size], copying=copying)
        order = sorted(range(len(self.valid.pairs)), key=lambda i: self.valid.lengths[i][::-1])
        self.valid_batches = [order[begin : begin + size] for begin in range(0, len(order), size)]

    @property
    def metric(self) -> Metric:
        """As it was asked for."""
        return (self.name, "min" if self.name in LESS else "max")

    def start(self) -> Start:
        """Nothing: each source is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the pairs."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int) -> Iterator[TranslationBatch]:
        """The batches in an order that seed and epoch decide."""
        for numbers in self.buckets.batches(epoch, start):
            yield self.train.batch(numbers)

    def loss(self, model: nn.Module, batch: TranslationBatch, carried: State) -> tuple[Tensor, int, State]:
        """Mean nats per token, of smoothed labels."""
        tokens = int(batch.target_lengths.sum())
        found = model(batch.to(self.model.device))
        return found.smoothed / tokens, tokens, None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Summed loss and right tokens of all pairs; edits and exact ones of those that are translated."""
        sums, tokens = dict.fromkeys(["loss", "_right", "_pairs", "_exact", "_edits", "_wanted"], 0.0), 0
        with evaluating(self.model):
            for rows in self.valid_batches:
                batch = self.valid.batch(rows)
                found = self.model(batch.to(self.model.device))
                sums["loss"] += float(found.nats)
                sums["_right"] += float(found.right)
                tokens += int(batch.target_lengths.sum())
        whole = self._measured().whole
        for name, count in (("pairs", whole.pairs), ("exact", whole.exact), ("edits", whole.edits)):
            sums[f"_{name}"] += count
        sums["_wanted"] += whole.tokens
        return sums, tokens

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Edits per token and the share of exact translations; the share of right tokens after right ones."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        return {
            "error_rate": means["_edits"] / max(means["_wanted"], 1e-12),
            "exact_match": means["_exact"] / max(means["_pairs"], 1e-12),
            "accuracy": means["_right"],
        }

    def _measured(self) -> Measures:
        """Greedy translations of some pairs."""
        measures, target = Measures(), self.vocabularies.target
        wanted = [[target.tokens(text) for text in pair.targets] for pair in self.translated]
        # One more than is right is wrong, however it would go on.
        most = max((len(tokens) for right in wanted for tokens in right), default=0) + 1
        answers = predict(self.model, self.vocabularies, self.translated, Search(most))
        for right, answer in zip(wanted, answers, strict=True):
            measures.add(right, answer.best.tokens)
        return measures
