"""Classification of texts as a `Task` of the training loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.runs.weights import read_header
from gateflow.tasks.classifier.batches import EncodedTexts, TextBatch, targets
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_texts
from gateflow.tasks.classifier.loading import build_model, load_labels, load_vocabulary, refuse_other_model
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.validation import calibrated, counts, summed_up
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["ClassifierTask"]


class ClassifierTask:
    """The `Task` of giving each text its label.

    A validation is judged by the share of right texts, or by the micro F1 where a text may have several labels
    (`metric`). It also fits the temperature and the thresholds, which are buffers of the model and kept with it.

    Raises:
        ConfigError: more processes than texts in a batch, or a class weight for a label that there is not.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    unit = "texts"

    def __init__(self, run: ClassifierRun, config: ClassifierConfig, rank: int = 0, world_size: int = 1) -> None:
        self.settings, self.labels, vocabulary = config.training, load_labels(run), load_vocabulary(run)
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        found = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(found, config.model, vocabulary, self.labels, run.checkpoint_file)
        self.model: ClassifierModel = build_model(config.model, vocabulary, self.labels)
        train, valid = (own_texts(run, self.labels, part) for part in ("train", "valid"))
        self.train, self.valid = (
            EncodedTexts(
                vocabulary,
                [text.text for text in part],
                config.data.longest,
                targets(self.labels, [text.labels for text in part]),
            )
            for part in (train, valid[rank::world_size])  # each process validates its share
        )
        size = config.training.batch_size
        self.buckets = LengthBuckets(self.train.lengths, size, config.training.seed, rank=rank, world_size=world_size)
        # By length, so that hardly anything is padding.
        order = sorted(range(len(self.valid.lengths)), key=self.valid.lengths.__getitem__)
        self.valid_batches = [order[begin : begin + size] for begin in range(0, len(order), size)]
        texts_of = Counter(str(label) for text in train for label in text.labels)
        of_labels = {name: texts_of[name] for name in self.labels.names}
        weights = class_weights(config.training.class_weights, of_labels, len(train), self.labels.multi_label)
        self.weights = None if weights is None else torch.tensor(weights)

    @property
    def metric(self) -> Metric:
        """The one that is asked for."""
        asked = self.settings.metric
        if asked == "loss":
            return "loss", "min"
        return ("micro_f1" if self.labels.multi_label else "accuracy") if asked == "auto" else asked, "max"

    def start(self) -> Start:
        """Nothing: each text is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the texts."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int) -> Iterator[TextBatch]:
        """The batches in an order that seed and epoch decide."""
        return map(self.train.batch, self.buckets.batches(epoch, start))

    def loss(self, model: nn.Module, batch: TextBatch, carried: State) -> tuple[Tensor, int, State]:
        """Mean nats per text, weighted by class and smoothed as the training asks for."""
        device = self.model.head.weight.device
        here, weights = batch.to(device), None if self.weights is None else self.weights.to(device)
        assert here.targets is not None, "every text of a training has its labels"
        nats = self.model.losses(model(here), here.targets, weights, self.settings.label_smoothing)
        # By the number of texts and not by the sum of their weights: so shares of several processes add up.
        return nats / len(here.lengths), len(here.lengths), None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Sums over the validation texts: loss, counts of each label, and what calibration needs."""
        return summed_up(self.model, map(self._counted, self.valid_batches)), len(self.valid.lengths)

    def _counted(self, rows: list[int]) -> dict[str, Tensor]:
        batch = self.valid.batch(rows).to(self.model.head.weight.device)
        assert batch.targets is not None, "every text of a validation has its labels"
        return counts(self.model, self.model(batch), batch.targets)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Accuracy, F1, and the temperature, which the model takes: whoever keeps its weights now keeps that too."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        return calibrated(self.model, means, self.settings.threshold)
