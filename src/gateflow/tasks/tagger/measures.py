"""How good predicted tags are: counts that add up over sentences, and the measures that are sums of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

from gateflow.data.spans import mended, spans
from gateflow.errors import ShapeError
from gateflow.tasks.score import Average, Confusion, Score, figures_of, mean_of

__all__ = ["INVENTED", "LENGTHS", "MISSED", "Case", "Measures"]

K = TypeVar("K", bound=Hashable)

LENGTHS = (10, 20, 40)
"""Sentences are grouped by length: up to so many words each, and longer ones."""
MISSED, INVENTED = "missed", "invented"
"""What a confusion table says of a span that was not predicted, and of one that was and is none."""


class Case(NamedTuple):
    """What is counted: a word, or a span of words.

    Attributes:
        gold: its tag or type in the file; None for a span that is only predicted.
        predicted: likewise; None for a span that was not found.
        length: which group of `LENGTHS` its sentence is in.
        seen: whether all of its words occur in the training set; None if that is not known.
    """

    gold: str | None
    predicted: str | None
    length: int
    seen: bool | None


@dataclass
class Measures:
    """All figures of one column of tags. Those of parts of a file, added, are those of the file.

    Of a scheme, what is counted are spans, and a predicted one is right if its borders and its type are (strict); else
    the words. Precision, recall and F1 then are of spans or of words, and for words the micro average is the accuracy.
    Tags that break the scheme's rule, in the file or predicted, are mended first by `gateflow.data.spans.mended`, and
    counted. After that the figures are those of seqeval with ``mode="strict"``.

    Args:
        scheme: as `gateflow.data.spans.find_scheme` gives it; None for plain tags.
        cases: how often each occurred.
        sentences, words: how many were added.
        right_words: how many words have the right tag, of a scheme after mending.
        mended_gold, mended_predicted: how many tags were changed.

    Example:
        >>> measures = Measures("IOB2")
        >>> measures.add(["B-person", "I-person", "O", "B-group"], ["B-person", "I-person", "B-group", "I-group"])
        >>> measures.micro()
        Score(gold=2, predicted=2, correct=1)
        >>> round(measures.macro().f1, 3), measures.accuracy
        (0.5, 0.5)
        >>> measures.mistakes()
        [('group', 'missed', 1), ('invented', 'group', 1)]

    Source: Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task"; Nakayama 2018, seqeval.
    """

    scheme: str | None = None
    cases: Counter[Case] = field(default_factory=Counter)
    sentences: int = 0
    words: int = 0
    right_words: int = 0
    mended_gold: int = 0
    mended_predicted: int = 0

    def add(self, gold: Sequence[str], predicted: Sequence[str], seen: Sequence[bool] | None = None) -> None:
        """Count a sentence.

        Args:
            gold: tags out of the file.
            predicted: as many.
            seen: of each word, whether it occurs in the training set.

        Raises:
            ShapeError: there are not as many tags of each kind.
            DataError: a tag is none of the scheme.
        """
        if len(gold) != len(predicted) or (seen is not None and len(seen) != len(gold)):
            about = "" if seen is None else f", and {len(seen)} are known to be seen or not"
            raise ShapeError(f"A sentence of {len(gold)} tags has {len(predicted)} predicted{about}. Give as many.")
        gold, changed_gold = mended(gold, self.scheme)
        predicted, changed_predicted = mended(predicted, self.scheme)
        pairs = _words(gold, predicted, seen) if self.scheme is None else _spans(gold, predicted, seen, self.scheme)
        group = bisect_left(LENGTHS, len(gold))
        self.cases.update(Case(right, guess, group, known) for right, guess, known in pairs)
        self.sentences += 1
        self.words += len(gold)
        self.right_words += sum(map(str.__eq__, gold, predicted))
        self.mended_gold += changed_gold
        self.mended_predicted += changed_predicted

    def __add__(self, other: Measures) -> Measures:
        if self.scheme != other.scheme:
            raise ShapeError(f"Figures of the schemes {self.scheme} and {other.scheme} cannot be added. Convert one.")
        return Measures(
            self.scheme,
            self.cases + other.cases,
            self.sentences + other.sentences,
            self.words + other.words,
            self.right_words + other.right_words,
            self.mended_gold + other.mended_gold,
            self.mended_predicted + other.mended_predicted,
        )

    @property
    def accuracy(self) -> float:
        """The share of words with the right tag; 0 if there are no words."""
        return self.right_words / self.words if self.words else 0.0

    def per_type(self) -> dict[str, Score]:
        """The score of each type, or of each plain tag: of all that occur or were predicted, in alphabetical order."""
        gold, predicted, correct = Counter[str](), Counter[str](), Counter[str]()
        for case, count in self.cases.items():
            if case.gold is not None:
                gold[case.gold] += count
                correct[case.gold] += count * (case.gold == case.predicted)
            if case.predicted is not None:
                predicted[case.predicted] += count
        return {name: Score(gold[name], predicted[name], correct[name]) for name in sorted(gold | predicted)}

    def micro(self) -> Score:
        """The score of all types together, each span or word with equal weight."""
        return sum(self._grouped(lambda case: None).values(), Score())

    def macro(self) -> Average:
        """The means over the types of `per_type`; 0 if there are none."""
        return mean_of(self.per_type().values())

    def by_length(self) -> dict[str, Score]:
        """The score of all types together, by the number of words of the sentence."""
        return {_length_named(group): score for group, score in sorted(self._grouped(lambda c: c.length).items())}

    def by_seen(self) -> dict[str, Score]:
        """The score of words that occur in the training set, and of others; of spans, by whether all words do."""
        found = self._grouped(lambda case: case.seen)
        names = {True: "seen", False: "unseen"}
        return {name: found[seen] for seen, name in names.items() if seen in found}

    def confusion(self) -> Confusion:
        """Gold by predicted types or tags; of spans with the same borders, and those that were missed or invented."""
        counts = Counter[tuple[str, str]]()
        for (gold, predicted), count in self._pairs().items():
            counts[gold, predicted] += count
        names = tuple(self.per_type())
        rows, columns = (names, names) if self.scheme is None else ((*names, INVENTED), (*names, MISSED))
        return Confusion(rows, columns, tuple(tuple(counts[row, column] for column in columns) for row in rows))

    def mistakes(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The commonest pairs of gold and predicted that differ, and how often, the commonest first."""
        wrong = [(*pair, count) for pair, count in self._pairs().items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda row: (-row[2], row))[:most]

    def figures(self) -> dict[str, Any]:
        """All of it as numbers, lists and dictionaries, such as JSON has."""
        confusion = self.confusion()
        return {
            "scheme": self.scheme,
            "sentences": self.sentences,
            "words": self.words,
            "accuracy": self.accuracy,
            "micro": figures_of(self.micro()),
            "macro": vars(self.macro()),
            "per_type": {name: figures_of(score) for name, score in self.per_type().items()},
            "by_length": {name: figures_of(score) for name, score in self.by_length().items()},
            "by_seen": {name: figures_of(score) for name, score in self.by_seen().items()},
            "confusion": {
                "gold": list(confusion.rows),
                "predicted": list(confusion.columns),
                "counts": [list(row) for row in confusion.counts],
            },
            "mended": {"gold": self.mended_gold, "predicted": self.mended_predicted},
        }

    def _grouped(self, group: Callable[[Case], K]) -> dict[K, Score]:
        found = dict[K, Score]()
        for case, count in self.cases.items():
            gold, predicted = case.gold is not None, case.predicted is not None
            one = Score(gold * count, predicted * count, (case.gold == case.predicted) * count)
            found[group(case)] = found.get(group(case), Score()) + one
        return found

    def _pairs(self) -> Counter[tuple[str, str]]:
        found = Counter[tuple[str, str]]()
        for case, count in self.cases.items():
            gold = INVENTED if case.gold is None else case.gold
            found[gold, MISSED if case.predicted is None else case.predicted] += count
        return found


def _words(
    gold: Sequence[str], predicted: Sequence[str], seen: Sequence[bool] | None
) -> Iterator[tuple[str, str, bool | None]]:
    return zip(gold, predicted, repeat(None) if seen is None else map(bool, seen), strict=False)


def _spans(
    gold: Sequence[str], predicted: Sequence[str], seen: Sequence[bool] | None, scheme: str
) -> Iterator[tuple[str | None, str | None, bool | None]]:
    right = {(begin, end): type for type, begin, end in spans(gold, scheme)}
    guess = {(begin, end): type for type, begin, end in spans(predicted, scheme)}
    for begin, end in right.keys() | guess.keys():
        known = None if seen is None else all(seen[begin:end])
        yield right.get((begin, end)), guess.get((begin, end)), known


def _length_named(group: int) -> str:
    first = LENGTHS[group - 1] + 1 if group else 1
    return f"{first} to {LENGTHS[group]}" if group < len(LENGTHS) else f"{first} or more"
