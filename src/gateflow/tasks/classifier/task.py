"""Classification of texts as a `Task` of the training loop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.runs.weights import read_header
from gateflow.tasks.classifier.batches import EncodedTexts, TextBatch, targets
from gateflow.tasks.classifier.calibration import (
    TEMPERATURES,
    THRESHOLDS,
    best_temperature,
    best_thresholds,
    given_at,
    logit,
    nats_at,
)
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_texts
from gateflow.tasks.classifier.loading import build_model, load_labels, load_vocabulary, refuse_other_model
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import decided
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["ClassifierTask"]


class ClassifierTask:
    """The `Task` of giving each text its label.

    A validation is judged by the share of right texts, or by the micro F1 where a text may have several labels
    (`metric`). It also fits the temperature and the thresholds, which are buffers of the model and kept with it.

    Raises:
        ConfigError: more processes than texts in a batch.
        DataError: a class weight for a label that there is not.
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
        counts = Counter(str(label) for text in train for label in text.labels)
        weights = class_weights(
            config.training.class_weights,
            {name: counts[name] for name in self.labels.names},
            len(train),
            self.labels.multi_label,
        )
        self.weights = None if weights is None else torch.tensor(weights)

    @property
    def metric(self) -> Metric:
        """The one that is asked for."""
        asked = self.settings.metric
        if asked == "loss":
            return "loss", "min"
        return ({True: "micro_f1", False: "accuracy"}[self.labels.multi_label] if asked == "auto" else asked), "max"

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
        k, device = len(self.labels), self.model.head.weight.device
        sums = {"_right": torch.zeros(1), **{name: torch.zeros(k) for name in ("_gold", "_given", "_hit")}}
        sums |= {"loss": torch.zeros(1), "_nats": torch.zeros(len(TEMPERATURES))}
        if self.labels.multi_label:
            sums |= {name: torch.zeros(len(THRESHOLDS), k) for name in ("_given_at", "_hit_at")}
        sums = {name: zeros.double() for name, zeros in sums.items()}
        for rows in self.valid_batches:
            batch = self.valid.batch(rows).to(device)
            for name, found in self._counts(self.model(batch), batch).items():
                sums[name] += found.cpu()
        return {
            f"{name}_{i}" if found.numel() > 1 else name: x
            for name, found in sums.items()
            for i, x in enumerate(found.flatten().tolist())
        }, len(self.valid.lengths)

    def _counts(self, scores: Tensor, batch: TextBatch) -> dict[str, Tensor]:
        wanted, several = batch.targets, self.labels.multi_label
        assert wanted is not None, "every text of a validation has its labels"
        gold = wanted > 0 if several else nn.functional.one_hot(wanted, len(self.labels)) > 0
        given = decided(self.model, scores)
        found = {
            "loss": self.model.losses(scores, wanted),
            "_nats": nats_at(scores, wanted),
            "_right": (given == gold).all(1).sum(),
            "_gold": gold.sum(0),
            "_given": given.sum(0),
            "_hit": (given & gold).sum(0),
        }
        if several:
            found |= zip(("_given_at", "_hit_at"), given_at(scores, wanted), strict=True)
        return found

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Accuracy, F1, and the temperature, which the model takes: whoever keeps its weights now keeps that too."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        found = {name: _gathered(means, name) for name in ("_gold", "_given", "_hit", "_nats")}
        temperature = best_temperature(found["_nats"].tolist())
        self.model.temperature.fill_(temperature)
        if self.labels.multi_label:
            found |= self._at_thresholds(means, found, temperature)
        f1 = 2 * found["_hit"] / (found["_gold"] + found["_given"]).clamp_min(1e-300)
        there = (found["_gold"] + found["_given"]) > 0
        micro = 2 * float(found["_hit"].sum()) / max(float((found["_gold"] + found["_given"]).sum()), 1e-300)
        shares = {"micro_f1": micro} if self.labels.multi_label else {"accuracy": means["_right"]}
        return {**shares, "macro_f1": float(f1[there].mean()) if there.any() else 0.0, "temperature": temperature}

    def _at_thresholds(
        self, means: Mapping[str, float], found: Mapping[str, Tensor], temperature: float
    ) -> dict[str, Tensor]:
        """Counts at the thresholds that the model gets: those asked for, or the best of each label."""
        if self.settings.threshold != "fit":
            # What is asked for is a probability, and the model compares scores.
            self.model.thresholds.fill_(temperature * logit(self.settings.threshold))
            return {}
        given, hit = (_gathered(means, name).view(len(THRESHOLDS), -1) for name in ("_given_at", "_hit_at"))
        best = best_thresholds(given, hit, found["_gold"])
        self.model.thresholds.copy_(torch.tensor([logit(THRESHOLDS[k]) for k in best]))
        labels = range(len(best))
        return {"_given": given[best, labels], "_hit": hit[best, labels]}


def _gathered(means: Mapping[str, float], name: str) -> Tensor:
    """The means that `validate` has taken apart, as one tensor."""
    if name in means:
        return torch.tensor([means[name]], dtype=torch.float64)
    found = [x for key, x in means.items() if key.rpartition("_")[0] == name]
    # Not finite where the weights are not; F1 is then 0.
    return torch.tensor([x if math.isfinite(x) or name == "_nats" else 0.0 for x in found], dtype=torch.float64)
