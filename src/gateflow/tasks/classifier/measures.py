"""How good given labels and their probabilities are: all of it from one table of what is right and what was said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from gateflow.errors import ShapeError
from gateflow.tasks.score import Average, Confusion, Score, figures_of, mean_of

__all__ = ["BINS", "Measures", "auroc"]

BINS = 15
"""Ranges of probability in which calibration is looked at, as Guo et al. (2017) have it."""


@dataclass
class Measures:
    """All figures of a classifier on some texts.

    Args:
        names: of the labels, in the order of the probabilities.
        multi_label: whether a text may have several.

    Example:
        >>> measures = Measures(("neg", "pos"))
        >>> for gold, given, p in [("pos", "pos", 0.9), ("neg", "pos", 0.6), ("neg", "neg", 0.2), ("pos", "pos", 0.7)]:
        ...     measures.add([gold], [given], [1 - p, p])
        >>> measures.accuracy, round(measures.macro().f1, 3), measures.auroc
        (0.75, 0.733, 1.0)
        >>> measures.mistakes()
        [('neg', 'pos', 1)]

    Source: of the macro average and of the AUROC of several labels, Sokolova, Lapalme (2009), A systematic analysis of
    performance measures for classification tasks; Hand, Till (2001) for what the latter leaves out: here each label is
    set against all others, and the mean is taken, as scikit-learn's ``roc_auc_score(multi_class="ovr")`` does.
    """

    names: tuple[str, ...]
    multi_label: bool = False
    gold: list[tuple[str, ...]] = field(default_factory=list)
    given: list[tuple[str, ...]] = field(default_factory=list)
    probabilities: list[Sequence[float]] = field(default_factory=list)

    def add(self, gold: Collection[str], given: Collection[str], probabilities: Sequence[float]) -> None:
        """Count a text.

        Args:
            gold: its labels; some may be ones that the classifier does not know.
            given: those that it was given.
            probabilities: of all labels that the classifier knows.

        Raises:
            ShapeError: there are not as many probabilities as labels, or not one label where there should be.
        """
        if len(probabilities) != len(self.names) or (not self.multi_label and (len(gold), len(given)) != (1, 1)):
            raise ShapeError(
                f"A text has {len(gold)} labels, {len(given)} given ones and {len(probabilities)} probabilities of "
                f"{len(self.names)} labels. Give one of the former and as many of the latter."
            )
        self.gold.append(tuple(gold))
        self.given.append(tuple(given))
        self.probabilities.append(probabilities)
        vars(self).pop("_counts", None)

    @property
    def accuracy(self) -> float:
        """The share of texts of which all is right; 0 if there are none."""
        right = sum(set(gold) == set(given) for gold, given in zip(self.gold, self.given, strict=True))
        return right / len(self.gold) if self.gold else 0.0

    @cached_property
    def _counts(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        gold, given, right = Counter[str](), Counter[str](), Counter[str]()
        for wanted, found in zip(self.gold, self.given, strict=True):
            gold.update(wanted)
            given.update(found)
            right.update(set(wanted) & set(found))
        return gold, given, right

    def per_label(self) -> dict[str, Score]:
        """The score of each label that occurs or was given, those that the classifier knows first."""
        gold, given, right = self._counts
        order = [*self.names, *sorted(gold.keys() - set(self.names))]
        return {name: Score(gold[name], given[name], right[name]) for name in order if gold[name] or given[name]}

    def micro(self) -> Score:
        """The score of all labels together."""
        return sum(self.per_label().values(), Score())

    def macro(self) -> Average:
        """The means over the labels of `per_label`."""
        return mean_of(self.per_label().values())

    @property
    def log_loss(self) -> float:
        """The mean negative log-probability of what is right, in nats, of known labels; NaN if there are none."""
        found = [self._nats(gold, p) for gold, p in zip(self.gold, self.probabilities, strict=True)]
        known = [x for x in found if x is not None]
        return fmean(known) if known else math.nan

    def _nats(self, gold: tuple[str, ...], probabilities: Sequence[float]) -> float | None:
        # As far from 0 as float32 can tell, which the probabilities are computed in.
        log = [(math.log(max(p, 2.0**-126)), math.log(max(1 - p, 2.0**-24))) for p in probabilities]
        if self.multi_label:
            return -sum(yes if name in gold else no for name, (yes, no) in zip(self.names, log, strict=True))
        return -log[self.names.index(gold[0])][0] if gold[0] in self.names else None

    @property
    def auroc(self) -> float:
        """How often a text with a label is told from one without it by their probabilities; 1/2 is chance.

        Of two labels that of the second; of several the mean over those that some texts have and others lack. NaN if
        there is none of them.
        """
        several = self.multi_label or len(self.names) > 2
        names = self.names if several else self.names[1:2]
        found = [x for name in names if not math.isnan(x := self.auroc_of(name))]
        return fmean(found) if found else math.nan

    def auroc_of(self, name: str) -> float:
        """That of one label against all others; NaN if all texts have it, or none."""
        k = self.names.index(name)
        return auroc([name in gold for gold in self.gold], [p[k] for p in self.probabilities])

    def calibration(self) -> list[tuple[float, float, int]]:
        """Of each of `BINS` ranges that is not empty: mean probability, share that was right, how many.

        What is looked at is the probability of the label that was given; of several labels that of each of them.
        """
        bins: dict[int, list[tuple[float, bool]]] = {}
        for p, right in self._said():
            # The last range has its end.
            bins.setdefault(min(int(p * BINS), BINS - 1), []).append((p, right))
        return [
            (fmean(p for p, _ in found), fmean(right for _, right in found), len(found))
            for _, found in sorted(bins.items())
        ]

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: how far the ranges of `calibration` are off on average.

        Source: Naeini, Cooper, Hauskrecht (2015). Obtaining well calibrated probabilities using Bayesian binning. AAAI.
        """
        found = self.calibration()
        count = sum(n for *_, n in found)
        return sum(n * abs(p - share) for p, share, n in found) / count if count else 0.0

    def _said(self) -> list[tuple[float, bool]]:
        """Each probability that counts for calibration, with whether it came true."""
        rows = zip(self.gold, self.given, self.probabilities, strict=True)
        if self.multi_label:
            return [(p, name in gold) for gold, _, row in rows for name, p in zip(self.names, row, strict=True)]
        return [(row[self.names.index(given[0])], gold == given) for gold, given, row in rows]

    def confusion(self) -> Confusion:
        """How often each right label was taken for each other, where a text has one."""
        counts, names = self._pairs(), tuple(self.per_label())
        return Confusion(names, names, tuple(tuple(counts[gold, given] for given in names) for gold in names))

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The commonest pairs of right and given labels that differ, and how often, the commonest first."""
        wrong = [(*pair, count) for pair, count in self._pairs().items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda row: (-row[2], row))[:most]

    def _pairs(self) -> Counter[tuple[str, str]]:
        if self.multi_label:
            return Counter()
        return Counter((gold[0], given[0]) for gold, given in zip(self.gold, self.given, strict=True))

    def figures(self) -> dict[str, Any]:
        """All of it as numbers, lists and dictionaries, such as JSON has."""
        confusion = self.confusion()
        counts = [list(row) for row in confusion.counts]
        return {
            "examples": len(self.gold),
            "accuracy": self.accuracy,
            "micro": figures_of(self.micro()),
            "macro": vars(self.macro()),
            "auroc": self.auroc,
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "per_label": {name: figures_of(score) for name, score in self.per_label().items()},
            "confusion": None if self.multi_label else {"labels": list(confusion.rows), "counts": counts},
        }


def auroc(gold: Sequence[bool], scores: Sequence[float]) -> float:
    """The area under the curve of true against false positives: how often a true one scores higher than a false one.

    Args:
        gold: which are true.
        scores: equal ones count as half.

    Returns:
        Between 0 and 1; NaN if all are true, or none.

    Source: Mann, Whitney (1947). On a test of whether one of two random variables is stochastically larger than the
    other. Annals of Mathematical Statistics 18(1).

    Example:
        >>> auroc([True, False, True, False], [0.9, 0.2, 0.4, 0.4])
        0.875
    """
    positives = sum(gold)
    negatives = len(gold) - positives
    if not positives or not negatives:
        return math.nan
    order = sorted(range(len(scores)), key=scores.__getitem__)
    ranks, begin = 0.0, 0
    while begin < len(order):
        end = begin
        while end < len(order) and scores[order[end]] == scores[order[begin]]:
            end += 1
        # Equal scores share the mean of their ranks, which are counted from 1.
        ranks += (begin + end + 1) / 2 * sum(gold[i] for i in order[begin:end])
        begin = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
