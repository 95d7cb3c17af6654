"""Probabilities that mean what they say: one temperature for all scores, and from which score on a label is given.

Both are fitted on the validation part, by sums over its texts: so each process sums up its own, and one pass is enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.tasks.classifier.targets import IGNORED

__all__ = ["TEMPERATURES", "THRESHOLDS", "best_temperature", "best_thresholds", "given_at", "logit", "nats_at"]

# Eighths of an octave from a half to 8: networks that are trained too long need 1.5 to 3, smoothed labels 0.7. The
# lower bound keeps a handful of texts that are all right from being called certain.
TEMPERATURES: tuple[float, ...] = tuple(2.0 ** (k / 8) for k in range(-8, 25))
THRESHOLDS: tuple[float, ...] = tuple(k / 20 for k in range(1, 20))


def logit(probability: float) -> float:
    """The score that has this probability at temperature 1.

    Example:
        >>> logit(0.5)
        0.0
    """
    return math.log(probability / (1 - probability))


def nats_at(scores: Tensor, targets: Tensor) -> Tensor:
    """The summed cross-entropy at each of `TEMPERATURES`, ``[33]``.

    Args:
        scores: ``[N, K]``.
        targets: ``[N]`` numbers of labels (-100 counts for nothing), or ``[N, K]`` zeros and ones.
    """
    several = targets.dim() == 2
    found = [
        F.binary_cross_entropy_with_logits(scores / t, targets, reduction="sum")
        if several
        else F.cross_entropy(scores / t, targets, ignore_index=IGNORED, reduction="sum")
        for t in TEMPERATURES
    ]
    return torch.stack(found).double()


def best_temperature(nats: Sequence[float]) -> float:
    """The temperature at which the cross-entropy is least, between the ones it was measured at by a parabola.

    Args:
        nats: as `nats_at` gives them, or a multiple.

    Source: Guo, Pleiss, Sun, Weinberger (2017). On calibration of modern neural networks. ICML. arXiv:1706.04599.

    Example:
        >>> scores, targets = torch.tensor([[4.0, 0.0]]).repeat(4, 1), torch.tensor([0, 0, 0, 1])
        >>> round(best_temperature(nats_at(scores, targets).tolist()), 2)  # 4 / T = log 3
        3.65
    """
    if not all(map(math.isfinite, nats)):
        return 1.0
    k = min(range(len(nats)), key=nats.__getitem__)
    if k in (0, len(nats) - 1):
        return TEMPERATURES[k]
    before, here, after = nats[k - 1 : k + 2]
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return TEMPERATURES[k] * 2 ** (shift / 8)


def given_at(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """How often each label would be given, and rightly so, at each of `THRESHOLDS`: both ``[19, K]``.

    Args:
        scores: ``[N, K]``.
        targets: ``[N, K]`` zeros and ones.
    """
    given = torch.stack([scores >= logit(p) for p in THRESHOLDS])
    return given.sum(1).double(), (given & (targets > 0)).sum(1).double()


def best_thresholds(given: Tensor, right: Tensor, gold: Tensor) -> list[int]:
    """Which of `THRESHOLDS` gives the best F1 of each label; of equals the one nearest to a half.

    Args:
        given, right: as `given_at` gives them, or a multiple.
        gold: ``[K]``, how many texts have each label.

    Source: Lipton, Elkan, Naryanaswamy (2014). Optimal thresholding of classifiers to maximize F1 measure. ECML.
    arXiv:1402.1892.
    """
    f1 = 2 * right / (given + gold).clamp_min(torch.finfo(given.dtype).tiny)
    middle = len(THRESHOLDS) // 2
    order = sorted(range(len(THRESHOLDS)), key=lambda k: abs(k - middle))
    # `argmax` takes the first of equals.
    return [order[int(k)] for k in f1[order].argmax(0)]
