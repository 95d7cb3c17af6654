"""Classification as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.runs.weights import read_header
from gateflow.tasks.classifier.batches import Batch, Encoded
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.loading import input_of, load_encoder, load_targets, refuse_other_model
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels, known
from gateflow.tasks.classifier.validation import Validation, validation_of
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["ClassifierTask"]


class ClassifierTask:
    """The `Task` of giving each example, or each of its steps, a label or a number.

    A validation is judged by the share of right labels, or by the micro F1 where there may be several, or by the RMSE
    of numbers (`metric`). It also fits the temperature and the thresholds, which are buffers of the model and kept with
    it.

    Raises:
        ConfigError: more processes than examples in a batch, or a class weight for a label that there is not.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    def __init__(self, run: ClassifierRun, config: ClassifierConfig, rank: int = 0, world_size: int = 1) -> None:
        self.settings, self.targets, encoder = config.training, load_targets(run), load_encoder(run)
        self.unit = "steps" if self.targets.per_step else input_of(config).many
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        found = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(found, config, encoder, self.targets, run.checkpoint_file)
        self.model: ClassifierModel = encoder.model(config, self.targets)
        self.validation: Validation = validation_of(self.targets)
        train, valid = (own_examples(run, self.targets, part) for part in ("train", "valid"))
        self.train = Encoded(encoder, train, self.targets)
        self.valid = Encoded(encoder, valid[rank::world_size], self.targets)  # each process validates its share
        size = config.training.batch_size
        self.buckets = LengthBuckets(self.train.lengths, size, config.training.seed, rank=rank, world_size=world_size)
        # By length, so that hardly anything is padding.
        order = sorted(range(len(self.valid.lengths)), key=self.valid.lengths.__getitem__)
        self.valid_batches = [order[begin : begin + size] for begin in range(0, len(order), size)]
        self.weights = self._weights()

    def _weights(self) -> Tensor | None:
        """What a mistake costs by label."""
        if not isinstance(self.targets, Labels):
            return None
        # Of what is read: steps beyond the longest, and those without a label, are not learnt from.
        found = self.train.all_targets()
        found = found[known(found)]
        counts = found.sum(0) if self.targets.multi_label else found.bincount(minlength=len(self.targets))
        of_labels = dict(zip(self.targets.names, counts.int().tolist(), strict=True))
        weights = class_weights(self.settings.class_weights, of_labels, len(found), self.targets.multi_label)
        return None if weights is None else torch.tensor(weights)

    @property
    def metric(self) -> Metric:
        """The one that is asked for."""
        asked = self.settings.metric
        if asked == "loss":
            return "loss", "min"
        return self.validation.metric if asked == "auto" else (asked, "max")

    def start(self) -> Start:
        """Nothing: each example is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the examples."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches in an order that seed and epoch decide."""
        return map(self.train.batch, self.buckets.batches(epoch, start))

    def loss(self, model: nn.Module, batch: Batch, carried: State) -> tuple[Tensor, int, State]:
        """Mean loss of what is to be found, weighted by class and smoothed as the training asks for."""
        device = self.model.head.weight.device
        here, weights = batch.to(device), None if self.weights is None else self.weights.to(device)
        assert here.targets is not None, "every example of a training has its labels"
        losses = self.model.losses(model(here), here.targets, weights, self.settings.label_smoothing)
        # By their number and not by the sum of their weights: so shares of several processes add up.
        count = int(known(batch.targets).sum()) if batch.targets is not None else 0
        return losses / max(count, 1), count, None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Sums over the validation examples: loss, counts of each label, and what calibration needs."""
        parts = [self._counted(rows) for rows in self.valid_batches]
        sums = self.validation.summed_up(self.model, [found for found, _ in parts])
        return sums, sum(count for _, count in parts)

    def _counted(self, rows: list[int]) -> tuple[dict[str, Tensor], int]:
        batch = self.valid.batch(rows).to(self.model.head.weight.device)
        assert batch.targets is not None, "every example of a validation has its labels"
        there = known(batch.targets)
        scores, targets = self.model(batch)[there], batch.targets[there]
        return self.validation.counts(self.model, scores, targets), len(targets)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Accuracy, F1, and the temperature, which the model takes: whoever keeps its weights now keeps that too."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        return self.validation.figures(self.model, means, self.settings.threshold)
