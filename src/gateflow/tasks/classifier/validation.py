"""What a validation counts, as sums that several processes can add up, and what is fitted to them."""

from __future__ import annotations

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

__all__ = ["calibrated", "counts", "summed_up"]


def counts(model: ClassifierModel, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """What is counted of some texts.

    Args:
        model: whose scores these are.
        scores: ``[B, K]``.
        targets: as in `TextBatch`.

    Returns:
        ``loss`` and ``_right``, one number each; of each label how many texts have it, are given it, and rightly so;
        the cross-entropy at each temperature; and, where there may be several labels, the counts at each threshold.
    """
    gold = targets > 0 if model.multi_label else F.one_hot(targets, scores.shape[1]) > 0
    given = decided(model, scores)
    found = {
        "loss": model.losses(scores, targets),
        "_right": (given == gold).all(1).sum(),
        "_gold": gold.sum(0),
        "_given": given.sum(0),
        "_hit": (given & gold).sum(0),
        "_nats": nats_at(scores, targets),
    }
    return found | (
        dict(zip(("_given_at", "_hit_at"), given_at(scores, targets), strict=True)) if model.multi_label else {}
    )


def summed_up(model: ClassifierModel, parts: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
    """The sums over all batches, a number a name: the same names in each process, also where it has no texts."""
    k, several = model.head.out_features, model.multi_label
    shapes: dict[str, tuple[int, ...]] = {"loss": (1,), "_right": (1,), "_nats": (len(TEMPERATURES),)}
    shapes |= dict.fromkeys(("_gold", "_given", "_hit"), (k,))
    shapes |= dict.fromkeys(("_given_at", "_hit_at"), (len(THRESHOLDS), k)) if several else {}
    sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    for part in parts:
        for name, found in part.items():
            sums[name] += found.cpu()
    return {
        name if name in ("loss", "_right") else f"{name}_{i}": x
        for name, found in sums.items()
        for i, x in enumerate(found.flatten().tolist())
    }


def calibrated(model: ClassifierModel, means: Mapping[str, float], threshold: float | str) -> dict[str, float]:
    """Give a model its temperature and thresholds; and what a validation finds with them.

    Args:
        model: whose buffers are set.
        means: the sums of `summed_up` over all processes, by the number of texts.
        threshold: the probability from which on a label is given, or ``fit``.
    """
    gold, given, hit, nats = (_gathered(means, name) for name in ("_gold", "_given", "_hit", "_nats"))
    temperature = best_temperature(nats.tolist())
    model.temperature.fill_(temperature)
    if model.multi_label and isinstance(threshold, str):
        given_at_all, hit_at_all = (
            _gathered(means, name).view(len(THRESHOLDS), -1) for name in ("_given_at", "_hit_at")
        )
        best = best_thresholds(given_at_all, hit_at_all, gold)
        model.thresholds.copy_(torch.tensor([logit(THRESHOLDS[k]) for k in best]))
        given, hit = (at_all[best, range(len(best))] for at_all in (given_at_all, hit_at_all))
    elif model.multi_label:
        # What is asked for is a probability, and the model compares scores.
        model.thresholds.fill_(temperature * logit(float(threshold)))
    f1, there = 2 * hit / (gold + given).clamp_min(1e-300), gold + given > 0
    share = {"micro_f1": 2 * float(hit.sum()) / max(float((gold + given).sum()), 1e-300)}
    return {
        **(share if model.multi_label else {"accuracy": means["_right"]}),
        "macro_f1": float(f1[there].mean()) if there.any() else 0.0,
        "temperature": temperature,
    }


def _gathered(means: Mapping[str, float], name: str) -> Tensor:
    """The means that `summed_up` has taken apart, as one tensor."""
    return torch.tensor([x for key, x in means.items() if key.rpartition("_")[0] == name], dtype=torch.float64)
