"""What a validation counts, as sums that several processes can add up, and what is fitted to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.tasks.classifier.calibration import (
    TEMPERATURES,
    THRESHOLDS,
    best_temperature,
    best_thresholds,
    given_at,
    logit,
    nats_at,
)
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import decided
from gateflow.tasks.classifier.targets import Numbers, Targets
from gateflow.training.task import Metric

__all__ = ["LabelValidation", "NumberValidation", "Validation", "validation_of"]


class Validation(ABC):
    """A validation of one kind of targets."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """By what weights are kept, if nothing else is asked for."""

    @abstractmethod
    def counts(self, model: ClassifierModel, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What is counted of a batch: ``loss``, and what `figures` needs.

        Args:
            model: whose scores these are.
            scores: ``[N, K]``.
            targets: as in `Batch`, all of them known.
        """

    @abstractmethod
    def shapes(self, model: ClassifierModel) -> dict[str, tuple[int, ...]]:
        """How many numbers `counts` gives by each name."""

    @abstractmethod
    def figures(self, model: ClassifierModel, means: Mapping[str, float], threshold: float | str) -> dict[str, float]:
        """Give a model what is fitted to a validation; and what the validation finds with it.

        Args:
            model: whose buffers are set.
            means: the sums of `summed_up` over all processes, by the number of targets.
            threshold: the probability from which on one of several labels is given, or ``fit``.
        """

    def summed_up(self, model: ClassifierModel, parts: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """The sums over all batches, a number a name: the same names in each process, also where it has no examples."""
        sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in self.shapes(model).items()}
        for part in parts:
            for name, found in part.items():
                sums[name] += found.cpu()
        return {
            name if found.ndim == 0 else f"{name}_{i}": x
            for name, found in sums.items()
            for i, x in enumerate(found.flatten().tolist())
        }


class LabelValidation(Validation):
    """Of labels: how many are right, and how sure the network is of them."""

    def __init__(self, several: bool) -> None:
        self.several = several

    @property
    def metric(self) -> Metric:
        """Accuracy, or micro F1."""
        return "micro_f1" if self.several else "accuracy", "max"

    def counts(self, model: ClassifierModel, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``_right``, one number; of each label how many have it, are given it, and rightly so; the cross-entropy at
        each temperature; and, where there may be several labels, the counts at each threshold.
        """
        gold = targets > 0 if self.several else F.one_hot(targets, scores.shape[1]) > 0
        given = decided(model, scores)
        found = {
            "loss": model.losses(scores, targets),
            "_right": (given == gold).all(1).sum(),
            "_gold": gold.sum(0),
            "_given": given.sum(0),
            "_hit": (given & gold).sum(0),
            "_nats": nats_at(scores, targets),
        }
        at_all = zip(("_given_at", "_hit_at"), given_at(scores, targets), strict=True) if self.several else ()
        return found | dict(at_all)

    def shapes(self, model: ClassifierModel) -> dict[str, tuple[int, ...]]:
        """Those of `counts`."""
        k = model.head.out_features
        shapes: dict[str, tuple[int, ...]] = {"loss": (), "_right": (), "_nats": (len(TEMPERATURES),)}
        shapes |= dict.fromkeys(("_gold", "_given", "_hit"), (k,))
        return shapes | (dict.fromkeys(("_given_at", "_hit_at"), (len(THRESHOLDS), k)) if self.several else {})

    def figures(self, model: ClassifierModel, means: Mapping[str, float], threshold: float | str) -> dict[str, float]:
        """Accuracy or micro F1, macro F1, and the temperature, which the model is given."""
        gold, given, hit, nats = (_gathered(means, name) for name in ("_gold", "_given", "_hit", "_nats"))
        temperature = best_temperature(nats.tolist())
        model.temperature.fill_(temperature)
        if self.several and isinstance(threshold, str):
            given_at_all, hit_at_all = (
                _gathered(means, name).view(len(THRESHOLDS), -1) for name in ("_given_at", "_hit_at")
            )
            best = best_thresholds(given_at_all, hit_at_all, gold)
            model.thresholds.copy_(torch.tensor([logit(THRESHOLDS[k]) for k in best]))
            given, hit = (at_all[best, range(len(best))] for at_all in (given_at_all, hit_at_all))
        elif self.several:
            # What is asked for is a probability, and the model compares scores.
            model.thresholds.fill_(temperature * logit(float(threshold)))
        f1, there = 2 * hit / (gold + given).clamp_min(1e-300), gold + given > 0
        share = {"micro_f1": 2 * float(hit.sum()) / max(float((gold + given).sum()), 1e-300)}
        return {
            **(share if self.several else {"accuracy": means["_right"]}),
            "macro_f1": float(f1[there].mean()) if there.any() else 0.0,
            "temperature": temperature,
        }


class NumberValidation(Validation):
    """Of numbers: how far off they are."""

    def __init__(self, targets: Numbers) -> None:
        self.targets = targets

    @property
    def metric(self) -> Metric:
        """The root of the mean squared error."""
        return "rmse", "min"

    def counts(self, model: ClassifierModel, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Sums of errors, and of what is right, in deviations."""
        # In float64: R² is the difference of sums that may be alike.
        found, gold = scores[:, 0].double(), targets.double()
        error = found - gold
        return {
            "loss": model.losses(scores, targets),
            "_absolute": error.abs().sum(),
            "_squared": error.square().sum(),
            "_gold": gold.sum(),
            "_gold_squared": gold.square().sum(),
        }

    def shapes(self, model: ClassifierModel) -> dict[str, tuple[int, ...]]:
        """Those of `counts`."""
        return dict.fromkeys(("loss", "_absolute", "_squared", "_gold", "_gold_squared"), ())

    def figures(self, model: ClassifierModel, means: Mapping[str, float], threshold: float | str) -> dict[str, float]:
        """RMSE and MAE in the units of the numbers, and R²."""
        variance = means["_gold_squared"] - means["_gold"] ** 2
        return {
            "rmse": self.targets.deviation * means["_squared"] ** 0.5,
            "mae": self.targets.deviation * means["_absolute"],
            # Of numbers that are all the same, but for rounding, nothing can be explained.
            "r2": 1 - means["_squared"] / variance if variance > 1e-12 * means["_gold_squared"] else 0.0,
        }


def validation_of(targets: Targets) -> Validation:
    """The validation of some targets."""
    return NumberValidation(targets) if isinstance(targets, Numbers) else LabelValidation(targets.kind == "labels")


def _gathered(means: Mapping[str, float], name: str) -> Tensor:
    """The means that `summed_up` has taken apart, as one tensor."""
    return torch.tensor([x for key, x in means.items() if key.rpartition("_")[0] == name], dtype=torch.float64)
