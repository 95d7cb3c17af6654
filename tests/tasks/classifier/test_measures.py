"""Measures, judged by scikit-learn; calibration, judged by its definition and by another optimizer."""

import math
import warnings
from random import Random

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn import metrics
from torch.nn import functional as F

from gateflow.errors import ShapeError
from gateflow.tasks.classifier.calibration import (
    THRESHOLDS,
    best_temperature,
    best_thresholds,
    given_at,
    logit,
    nats_at,
)
from gateflow.tasks.classifier.measures import BINS, Measures, auroc


def judged(labels: int, texts: int, seed: int):
    """Right and given labels with probabilities, some of them equal."""
    random, names = Random(seed), tuple("abcdefg"[:labels])
    gold, probabilities = [random.choice(names) for _ in range(texts)], []
    for right in gold:
        row = np.round(np.array([random.random() + 1.2 * (name == right) for name in names]), 1) + 0.05
        probabilities.append((row / row.sum()).tolist())
    given = [names[int(np.argmax(row))] for row in probabilities]
    measures = Measures(names)
    for row in zip(gold, given, probabilities, strict=True):
        measures.add([row[0]], [row[1]], row[2])
    return measures, gold, given, np.array(probabilities)


@pytest.mark.parametrize(("labels", "texts"), [(2, 60), (3, 40), (5, 200), (7, 9)])
def test_figures_are_those_of_scikit_learn(labels, texts):
    measures, gold, given, p = judged(labels, texts, seed=labels)
    assert measures.accuracy == pytest.approx(metrics.accuracy_score(gold, given))
    assert measures.macro().f1 == pytest.approx(metrics.f1_score(gold, given, average="macro"))
    assert measures.micro().f1 == pytest.approx(metrics.f1_score(gold, given, average="micro"))
    assert measures.log_loss == pytest.approx(metrics.log_loss(gold, p, labels=list(measures.names)))
    found = metrics.precision_recall_fscore_support(gold, given, labels=list(measures.per_label()), zero_division=0)
    for k, score in enumerate(measures.per_label().values()):
        assert (score.precision, score.recall, score.f1, score.gold) == pytest.approx([part[k] for part in found])
    confusion = measures.confusion()
    assert np.array_equal(confusion.counts, metrics.confusion_matrix(gold, given, labels=list(confusion.rows)))
    if labels == 2:
        assert measures.auroc == pytest.approx(metrics.roc_auc_score([name == "b" for name in gold], p[:, 1]))
    elif set(gold) == set(measures.names):
        assert measures.auroc == pytest.approx(metrics.roc_auc_score(gold, p, multi_class="ovr"))


def test_figures_of_several_labels_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    gold, p = random.random((80, 4)) < 0.3, random.random((80, 4))
    p[gold] = np.sqrt(p[gold])
    given, names = p > 0.6, tuple("abcd")
    measures = Measures(names, multi_label=True)
    for rows in zip(gold, given, p, strict=True):
        wanted, found = ([names[k] for k in np.flatnonzero(row)] for row in rows[:2])
        measures.add(wanted, found, rows[2].tolist())
    assert measures.accuracy == pytest.approx(metrics.accuracy_score(gold, given))
    assert measures.micro().f1 == pytest.approx(metrics.f1_score(gold, given, average="micro"))
    assert measures.macro().f1 == pytest.approx(metrics.f1_score(gold, given, average="macro"))
    assert measures.auroc == pytest.approx(metrics.roc_auc_score(gold, p))
    assert measures.figures()["confusion"] is None


def test_the_calibration_error_is_its_definition():
    measures, gold, given, p = judged(3, 150, seed=1)
    top, right = p.max(1), np.array(gold) == np.array(given)
    wanted = 0.0
    for k in range(BINS):
        inside = (top >= k / BINS) & ((top < (k + 1) / BINS) | (k == BINS - 1))
        if inside.any():
            wanted += inside.mean() * abs(top[inside].mean() - right[inside].mean())
    assert measures.calibration_error == pytest.approx(wanted)
    assert sum(count for *_, count in measures.calibration()) == 150


def test_a_label_that_is_not_known_is_wrong_and_left_out_of_probabilities():
    measures = Measures(("a", "b"))
    measures.add(["strange"], ["a"], [0.9, 0.1])
    measures.add(["b"], ["b"], [0.1, 0.9])
    assert measures.accuracy == 0.5
    assert measures.log_loss == pytest.approx(-math.log(0.9))
    assert list(measures.per_label()) == ["a", "b", "strange"]
    assert math.isnan(auroc([True, True], [0.1, 0.2]))
    with pytest.raises(ShapeError, match="1 probabilities of 2 labels"):
        measures.add(["b"], ["b"], [0.1])


def _nats(scores, targets, temperature):
    loss = F.binary_cross_entropy_with_logits if targets.dim() == 2 else F.cross_entropy
    return float(loss(scores / temperature, targets, reduction="sum"))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("scale", [0.7, 2.0, 3.0])
def test_the_temperature_is_the_best_there_is(several, scale):
    torch.manual_seed(0)
    gold = torch.randint(3, (300,))
    scores = scale * (F.one_hot(gold, 3) + torch.randn(300, 3)).double()
    targets = F.one_hot(gold, 3).double() if several else gold
    found = best_temperature(nats_at(scores, targets).tolist())
    judge = minimize_scalar(lambda t: _nats(scores, targets, t), bounds=(0.2, 9), method="bounded")
    assert found == pytest.approx(judge.x, rel=0.01)
    assert _nats(scores, targets, found) <= judge.fun + 1e-3


def test_thresholds_are_the_best_of_those_that_are_tried():
    torch.manual_seed(1)
    targets = (torch.rand(200, 3) < torch.tensor([0.1, 0.3, 0.0])).float()
    scores = torch.randn(200, 3) + targets
    found = best_thresholds(*given_at(scores, targets), targets.sum(0).double())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(2):
            f1 = [metrics.f1_score(targets[:, k], scores[:, k] >= logit(p)) for p in THRESHOLDS]
            assert f1[found[k]] == pytest.approx(max(f1))
    assert THRESHOLDS[found[2]] == 0.5, "of a label that no text has nothing can be said"
