"""A translator at work: the one function by which sources get their translations, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from gateflow.data.lines import blocks_of
from gateflow.data.parallel import ParallelText
from gateflow.data.rows import is_blank
from gateflow.decoding.beam import Hypothesis
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.translator.encoding import EncodedPairs, source_tokens
from gateflow.tasks.translator.ensemble import Translating
from gateflow.tasks.translator.search import Search, found_by
from gateflow.tasks.translator.tokens import Vocabularies

__all__ = ["Answer", "Translation", "predict"]

# Sources that are read at once to be put into batches by their length; as many are held in memory.
CHUNK = 1024
# Steps of all sources of a batch together: a source of ten thousand tokens is read beside a few others only.
MOST_STEPS = 1 << 15


@dataclass(frozen=True)
class Translation:
    """One translation of a source.

    Attributes:
        text: the translation.
        tokens: that it is made of.
        log_probability: of its tokens and its end.
        score: by which translations are ranked.
        weights: ``[T + 1, S]``, what attention looked at for each token and the end; none without it.
        ended: whether it came to an end by itself; else it was cut, where it would have gone on.
    """

    text: str
    tokens: list[str]
    log_probability: float = 0.0
    score: float = 0.0
    weights: Tensor | None = field(default=None, repr=False, compare=False)
    ended: bool = True


@dataclass(frozen=True)
class Answer:
    """What a translator says of one source.

    Attributes:
        translations: the best first.
        source: its tokens as they were read, features and the end too.
    """

    translations: list[Translation]
    source: list[str] = field(default_factory=list)

    @property
    def best(self) -> Translation:
        """The best translation."""
        return self.translations[0]


# Of a source without a token there is nothing to translate.
NOTHING = Answer([Translation("", [])])


def predict(
    model: Translating,
    vocabularies: Vocabularies,
    sources: Iterable[ParallelText],
    search: Search,
    *,
    chunk: int = CHUNK,
) -> Iterator[Answer]:
    """Yield for each source, in order, its translations; they are the same in any batch.

    Args:
        model, vocabularies: of one run, or an `Ensemble` of several.
        sources: a blank one has the empty translation.
        search: how translations are looked for.
        chunk: sources that are waited for before the first answer; batches are made of them by length.
    """
    for block in blocks_of(sources, chunk):
        answers = [NOTHING] * len(block)
        encoded = EncodedPairs(vocabularies, block, copying=model.copies)
        # A blank source has its answer already.
        order = [i for i, pair in enumerate(block) if not is_blank(pair.source)]
        order.sort(key=lambda i: len(encoded.sources[i]))
        for rows in _batches(order, encoded, search.batch_size):
            for i, answer in zip(rows, _translated(model, encoded, rows, search), strict=True):
                answers[i] = answer
        yield from answers


def _batches(order: Sequence[int], encoded: EncodedPairs, batch_size: int) -> Iterator[list[int]]:
    rows: list[int] = []
    for i in order:
        # The longest so far is the last one.
        if rows and (len(rows) == batch_size or (len(rows) + 1) * len(encoded.sources[i]) > MOST_STEPS):
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows


def _translated(model: Translating, encoded: EncodedPairs, rows: Sequence[int], search: Search) -> list[Answer]:
    batch = encoded.batch(rows).to(model.device)
    with evaluating(model):
        found = found_by(search, model, batch, encoded.vocabularies.target.end)
    return [
        Answer([_translation(encoded, i, one, search) for one in best], source_tokens(encoded, i))
        for i, best in zip(rows, found, strict=True)
    ]


def _translation(encoded: EncodedPairs, i: int, found: Hypothesis, search: Search) -> Translation:
    target = encoded.vocabularies.target
    weights = None if found.attention is None else found.attention[:, : len(encoded.sources[i])]
    strange = encoded.unknown[i] if encoded.copying else []
    tokens = [
        target.token(number) if number < len(target) else strange[number - len(target) - 1] for number in found.tokens
    ]
    if search.replace_unknown and weights is not None:
        # Of the tokens of the text alone: its end and its features are no words.
        source = encoded.vocabularies.source.copied(encoded.pairs[i].source)
        looked = weights[:, : len(source)].argmax(-1).tolist()
        tokens = [
            source[looked[t]] if number == target.unknown else token
            for t, (number, token) in enumerate(zip(found.tokens, tokens, strict=True))
        ]
    return Translation(target.joined(tokens), tokens, found.log_probability, found.score, weights, not found.cut)
