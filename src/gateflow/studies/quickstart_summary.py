"""What the figures of ``quickstart`` say, in plain words; every sentence is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateflow.studies.agreement_training import AgreementResult

# Far above the half that guessing gets: of some 200 farthest sentences no luck gets so many.
LEARNED = 0.9
NAMES = {"elman": "tanh RNN", "simplified_gru": "simple GRU", "full_gru": "full GRU", "lstm": "LSTM"}


@dataclass(frozen=True)
class Summary:
    """One configuration's means over its seeds, by distance: of accuracy, and geometric ones of reach."""

    label: str
    accuracy: list[float]
    reach_before: list[float]
    reach_after: list[float]
    by_attractors: list[float]

    @property
    def learned(self) -> bool:
        """Whether it agrees in at least 90 % of the farthest sentences."""
        return self.accuracy[-1] >= LEARNED


def label(config: str) -> str:
    """A configuration's short name.

    Example:
        >>> label("lstm:chrono"), label("elman"), label("indrnn")
        ('LSTM chrono', 'tanh RNN', 'indrnn')
    """
    cell, _, weights = config.partition(":")
    return f"{NAMES.get(cell, cell)} {weights}".strip()


def by_config(names: Sequence[str], results: Sequence[AgreementResult]) -> list[Summary]:
    """Average over seeds."""
    summaries = []
    for name in names:
        own = [result for result in results if result.config == name]
        summaries.append(
            Summary(
                label(name),
                [fmean(values) for values in zip(*(r.accuracy for r in own), strict=True)],
                # Geometric, for reach falls by factors.
                [geometric_mean(values) for values in zip(*(r.reach_before for r in own), strict=True)],
                [geometric_mean(values) for values in zip(*(r.reach_after for r in own), strict=True)],
                [fmean(values) for values in zip(*(r.accuracy_by_attractors for r in own), strict=True)],
            )
        )
    return summaries


def quickstart_summary(names: Sequence[str], results: Sequence[AgreementResult]) -> list[str]:
    """Return three to six sentences about the two ways of training; guessing is right in 50 %."""
    every = by_config(names, [r for r in results if r.distances == "all"])
    far = by_config(names, [r for r in results if r.distances == "far"])
    return [
        f"Trained on every distance, {who_learned(every)}",
        *attractors(every),
        f"Trained on far sentences only, {who_learned(far)}",
        *separation(far),
        *after_training(every),
    ]


def who_learned(summaries: Sequence[Summary]) -> str:
    """Say who agrees in the farthest sentences, and how far the others get.

    Example:
        >>> good = Summary("LSTM", [1.0, 1.0], [0.1, 0.1], [0.1, 0.1], [1.0])
        >>> bad = Summary("tanh RNN", [0.97, 0.52], [0.1, 1e-14], [0.1, 1e-14], [0.7])
        >>> who_learned([good, bad])
        'LSTM agrees in 90 % or more of the farthest sentences; tanh RNN in 52 % (nearest: 97 %).'
    """
    learned = [s.label for s in summaries if s.learned]
    rest = [
        f"{s.label} in {100 * s.accuracy[-1]:.0f} % (nearest: {100 * s.accuracy[0]:.0f} %)"
        for s in summaries
        if not s.learned
    ]
    verb = "agrees" if len(learned) == 1 else "agree"
    best = f"{_listed(learned) or 'none'} {verb if learned else 'agrees'} in 90 % or more of the farthest sentences"
    return f"{best}; {_listed(rest)}." if rest else f"{best}: all of them."


def attractors(summaries: Sequence[Summary]) -> list[str]:
    """Say what nouns of the other number do to those that have not learned the farthest sentences.

    Example:
        >>> attractors([Summary("tanh RNN", [0.5], [1.0], [1.0], [0.85, 0.78, 0.6, 0.43, 0.49])])
        ['With 0, 1, 2, 3, 4 or more nouns of the other number between, tanh RNN agrees in 85, 78, 60, 43, 49 %.']
    """
    found = [
        (s.label, ", ".join(f"{100 * share:.0f}" for share in s.by_attractors)) for s in summaries if not s.learned
    ]
    return [
        f"With 0, 1, 2, 3, 4 or more nouns of the other number between, {name} agrees in {shares} %."
        for name, shares in found
    ]


def separation(far: Sequence[Summary]) -> list[str]:
    """Say whether reach before training tells the two groups apart.

    Example:
        >>> good = Summary("LSTM chrono", [1.0], [0.1], [0.1], [1.0])
        >>> bad = Summary("tanh RNN", [0.5], [1e-14], [1e-14], [0.5])
        >>> separation([good, bad])[1]
        'Reach before training tells here who learns without near sentences.'
        >>> separation([good])
        []
    """
    learned, rest = [s for s in far if s.learned], [s for s in far if not s.learned]
    # Nothing to be told apart.
    if not learned or not rest:
        return []
    figures = (
        f"Before training, {_spread(learned)} of the gradient came through to the farthest subject in those that "
        f"learned it, {_spread(rest)} in the others."
    )
    # The worst that learned it against the best that did not: one exception, and it does not tell.
    apart = min(s.reach_before[-1] for s in learned) > max(s.reach_before[-1] for s in rest)
    return [
        figures,
        f"Reach before training {'tells' if apart else 'does not tell'} here who learns without near sentences.",
    ]


def after_training(every: Sequence[Summary]) -> list[str]:
    """Say what reach has become, for those that agree in the farthest sentences and for the others.

    Example:
        >>> after_training([Summary("LSTM", [1.0], [1e-11], [4e-6], [1.0])])
        ['After training on every distance: 4e-06 in those that agree in the farthest sentences.']
    """
    groups = {
        "those that agree in the farthest sentences": [s for s in every if s.learned],
        "those that do not": [s for s in every if not s.learned],
    }
    parts = [f"{_spread(group, after=True)} in {who}" for who, group in groups.items() if group]
    return [f"After training on every distance: {', '.join(parts)}."]


def _spread(summaries: Iterable[Summary], after: bool = False) -> str:
    ends = [s.reach_after[-1] if after else s.reach_before[-1] for s in summaries]
    # Powers of ten: no second digit is known with one seed.
    low, high = f"{min(ends):.0e}", f"{max(ends):.0e}"
    return low if low == high else f"{low} to {high}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
