"""How good translations are: exact ones, edits per token, and by length; BLEU and chrF are sacrebleu's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

from gateflow.errors import ConfigError, among

__all__ = ["Measures", "edit_distance", "refuse_other_tokenize", "sacrebleu_scores"]

# Upper ends of the groups by the length of the right translation.
LENGTHS = (5, 10, 20, 40)
# How sacrebleu cuts texts if nothing is said, as WMT does.
USUAL = "13a"


def edit_distance(wanted: Sequence[str], found: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that make one of the other.

    Example:
        >>> edit_distance("kitten", "sitting")
        3

    Source: Levenshtein (1966). Binary codes capable of correcting deletions, insertions, and reversals. Soviet Physics
    Doklady 10.
    """
    if wanted == found:
        return 0
    above = list(range(len(found) + 1))
    for i, one in enumerate(wanted, 1):
        row = [i]
        for j, other in enumerate(found, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
        above = row
    return above[-1]


@dataclass
class Group:
    """Counts of some translations.

    Attributes:
        pairs: how many there are.
        exact: how many of them are exactly right.
        edits, tokens: edits to the nearest right translation, and its tokens.
        right: tokens that are right at their place.
    """

    pairs: int = 0
    exact: int = 0
    edits: int = 0
    tokens: int = 0
    right: int = 0

    def figures(self) -> dict[str, float]:
        """As shares: exact ones, edits per token, and tokens that are right at their place."""
        tokens = max(self.tokens, 1)
        return {
            "exact_match": self.exact / max(self.pairs, 1),
            "error_rate": self.edits / tokens,
            "token_accuracy": self.right / tokens,
        }


@dataclass
class Measures:
    """Counts of translations, in all and by the length of what is right.

    ``1 - exact_match`` is the word error rate of spelling-to-sound, ``error_rate`` its phone error rate; of recognised
    speech the latter is the word error rate.

    Example:
        >>> measures = Measures()
        >>> measures.add([["s", "a", "n"]], ["s", "a", "m"])
        >>> measures.figures()["error_rate"] == 1 / 3
        True
    """

    whole: Group = field(default_factory=Group)
    groups: dict[int, Group] = field(default_factory=lambda: defaultdict(Group))

    def add(self, wanted: Sequence[Sequence[str]], found: Sequence[str]) -> None:
        """Count one translation; of several right ones the nearest counts."""
        edits, right = min(
            ((edit_distance(tokens, found), tokens) for tokens in wanted), key=lambda pair: (pair[0], len(pair[1]))
        )
        place = next((k for k, most in enumerate(LENGTHS) if len(right) <= most), len(LENGTHS))
        for group in (self.whole, self.groups[place]):
            group.pairs += 1
            group.exact += edits == 0
            group.edits += edits
            group.tokens += len(right)
            group.right += sum(one == other for one, other in zip(right, found, strict=False))

    def figures(self) -> dict[str, float]:
        """Of all translations."""
        return self.whole.figures()

    def by_length(self) -> Iterator[tuple[str, Group]]:
        """Counts by the tokens of the right translation, with words for these."""
        for place in sorted(self.groups):
            least = LENGTHS[place - 1] + 1 if place else 1
            yield f"{least} to {LENGTHS[place]}" if place < len(LENGTHS) else f"{least} and more", self.groups[place]


def sacrebleu_scores(
    found: Sequence[str], wanted: Sequence[Sequence[str]], tokenize: str = USUAL
) -> dict[str, dict[str, Any]]:
    """BLEU and chrF of some translations, with the signatures by which others can repeat them.

    Args:
        found: translations.
        wanted: for each all that are right; both are compared in Unicode's composed form, as all texts are.
        tokenize: sacrebleu's: ``13a`` of plain text, ``none`` of text that is cut into tokens already, ``char``, ….

    Raises:
        ConfigError: sacrebleu is not installed.

    Source: Post (2018). A call for clarity in reporting BLEU scores. WMT. arXiv:1804.08771.
    """
    BLEU, CHRF = _metrics()
    # Columns of references; where a source has fewer, sacrebleu passes over none.
    most = max(map(len, wanted), default=1)
    columns: list[list[Any]] = [
        [normalize("NFC", right[k]) if k < len(right) else None for right in wanted] for k in range(most)
    ]
    texts = [normalize("NFC", text) for text in found]
    scores = {}
    # Forced: else it warns of each text that ends in " .", though `none` was asked for.
    for name, metric in (("bleu", BLEU(tokenize=tokenize, force=True)), ("chrf", CHRF())):
        score = metric.corpus_score(texts, columns)
        scores[name] = {"score": score.score, "signature": str(metric.get_signature()), "details": str(score)}
    return scores


def refuse_other_tokenize(tokenize: str) -> None:
    """Refuse before anything is translated what sacrebleu cannot do; the usual one may do without it.

    Raises:
        ConfigError: sacrebleu is not installed, or has no such `tokenize`.
    """
    if tokenize == USUAL:
        return
    BLEU, _ = _metrics()
    if tokenize not in BLEU.TOKENIZERS:
        raise ConfigError(f"--bleu-tokenize {tokenize:.40}: {among(tokenize, sorted(BLEU.TOKENIZERS))}.")


def _metrics() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise ConfigError("BLEU and chrF need sacrebleu: pip install 'gateflow[translation]'.") from None
    return BLEU, CHRF
