"""What is said of features that are missing, too many, or new: without a word a translation would just be another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from gateflow.data.parallel import ParallelText
from gateflow.errors import DataWarning
from gateflow.tasks.translator.encoding import feature_words
from gateflow.tasks.translator.tokens import Tokens, Vocabularies

__all__ = ["Features", "tell_of_blank_features"]

Fault = Callable[[ParallelText], str | None]
# How features are given: to the verbs with the lines of files, in Python with the sources of a list.
GIVEN = {"line": "give them behind a tab, or in their column", "source": "give them beside it, as (text, features)"}


class Features:
    """Looks at the features of sources, and tells of each kind of fault once.

    Args:
        vocabularies: of the run.
        unit: what is numbered, a line or a source.
    """

    def __init__(self, vocabularies: Vocabularies, unit: Literal["line", "source"] = "line") -> None:
        self.unit, self.faults = unit, _faults_of(vocabularies.features, GIVEN[unit])

    def looked_at(self, sources: Iterable[ParallelText]) -> Iterator[ParallelText]:
        """The sources as they come.

        Warns:
            DataWarning: one has no features where some were learnt, some where none were, or one that is not known.
        """
        for source in sources:
            for fault in [fault for fault in self.faults if fault(source) is not None]:
                self.faults.remove(fault)
                text = f"{self.unit} {source.line}: {fault(source)} {self.unit.title()}s after it are not told of."
                warnings.warn(text, DataWarning, stacklevel=2)
            yield source


def tell_of_blank_features(pairs: Iterable[ParallelText]) -> None:
    """Say how many pairs to learn from have none, where they are asked for.

    Warns:
        DataWarning: some have none.
    """
    found = list(pairs)
    blank = [pair.line for pair in found if not pair.features.strip()]
    if blank:
        warnings.warn(
            f"{len(blank):,} of the {len(found):,} pairs have no features, the first in line {blank[0]}: they are "
            "learnt from as they are. Give each its features, or leave --features out.",
            DataWarning,
            stacklevel=3,
        )


def _faults_of(features: Tokens | None, given: str) -> list[Fault]:
    if features is None:
        return [_surplus]

    def missing(source: ParallelText) -> str | None:
        if source.features.strip() or not source.source.strip():
            return None
        return f"no features, and this run has learnt from some; {given}."

    def unknown(source: ParallelText) -> str | None:
        words = feature_words(source.features)
        numbers = features.numbers([words])[0]
        strange = [word for word, n in zip(features.tokens(words), numbers, strict=True) if n == features.unknown]
        return (
            f"the feature {strange[0]!r:.60} was in no pair of the training, and is read as unknown."
            if strange
            else None
        )

    return [missing, unknown]


def _surplus(source: ParallelText) -> str | None:
    if source.features.strip():
        return f"features {source.features!r:.60}, and this run has learnt none: they are not read."
    if "\t" not in source.source:
        return None
    return "a tab in the source, and this run has learnt no features: what is behind it is read as text. Leave it out."
