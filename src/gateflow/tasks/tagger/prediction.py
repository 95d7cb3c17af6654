"""A tagger at work: the one function by which sentences get their tags, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from gateflow.data.lines import blocks_of
from gateflow.data.spans import Span, spans
from gateflow.data.tagged import TaggedSentence
from gateflow.errors import ConfigError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.tagger.batches import TaggedBatch
from gateflow.tasks.tagger.decoding import Certainty, best_tags, n_best_tags
from gateflow.tasks.tagger.encoding import EncodedSentences
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary

__all__ = ["Answer", "predict", "read_spellings", "refuse_no_crf"]


# Sentences that are read at once to be put into batches by their length; as many are held in memory.
CHUNK = 1024
# Different words whose characters are read at once: some tens of megabytes.
SPELLINGS = 4096
# Sequences of one sentence that can be asked for: each takes the memory of a sentence in a batch.
MOST_BEST = 1000


@dataclass
class Answer:
    """What a tagger says of one column of one sentence.

    Attributes:
        tags: of each word.
        probabilities: of each of these tags, if they are asked for.
        spans: the entities with their probabilities, if they are asked for.
        best: the likeliest sequences with their probabilities, if they are asked for.
    """

    tags: list[str]
    probabilities: list[float] = field(default_factory=list)
    spans: list[tuple[Span, float]] = field(default_factory=list)
    best: list[tuple[list[str], float]] = field(default_factory=list)


def predict(
    model: TaggerModel,
    vocabulary: Vocabulary,
    sentences: Iterable[Sequence[str]],
    *,
    batch_size: int = 64,
    probabilities: bool = False,
    n_best: int = 0,
    chunk: int = CHUNK,
) -> Iterator[dict[str, Answer]]:
    """Yield for each sentence, in order, the answer for each column; a sentence is the same in any batch.

    Args:
        model, vocabulary: of one run.
        sentences: words; one without words gets an answer without tags.
        batch_size: sentences that are read side by side.
        probabilities: those of tags and entities too.
        n_best: so many of the likeliest sequences too.
        chunk: sentences that are waited for before the first answer; batches are made of them by length.
    """
    for block in blocks_of(sentences, chunk):
        answers = [{column.name: Answer([]) for column in vocabulary.columns} for _ in block]
        # A sentence without words has its answer already.
        order = sorted((i for i, words in enumerate(block) if len(words)), key=lambda i: len(block[i]))
        encoded = EncodedSentences(vocabulary, [TaggedSentence(tuple(words), {}, line=0) for words in block])
        read = read_spellings(model, encoded)
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            found = _batch(model, vocabulary, encoded.batch(rows, read), probabilities, n_best)
            for i, answer in zip(rows, found, strict=True):
                answers[i] = answer
        yield from answers


def refuse_no_crf(model: TaggerModel, n_best: int) -> None:
    """Refuse to ask for several sequences of a model that chooses tags one by one.

    Raises:
        ConfigError: it has no CRF, or too many are asked for.
    """
    if n_best > MOST_BEST:
        raise ConfigError(f"--nbest {n_best}: at most {MOST_BEST} sequences of a sentence can be told.")
    if n_best and any(model.crf(name) is None for name in model.columns):
        raise ConfigError("--nbest asks for whole sequences, and this tagger chooses tag by tag; train it with --crf.")


@torch.inference_mode()
def read_spellings(model: TaggerModel, encoded: EncodedSentences) -> torch.Tensor | None:
    """What the characters of each different word of a block give; most words are in several of its batches."""
    if model.characters is None:
        return None
    device, most = model.embedding.weight.device, SPELLINGS
    with evaluating(model):
        parts = zip(encoded.spellings.to(device).split(most, 1), encoded.spelled.to(device).split(most), strict=True)
        return torch.cat([model.characters(letters[: int(counts.max())], counts) for letters, counts in parts])


@torch.inference_mode()
def _batch(
    model: TaggerModel, vocabulary: Vocabulary, batch: TaggedBatch, probabilities: bool, n_best: int
) -> list[dict[str, Answer]]:
    here = batch.to(model.embedding.weight.device)
    answers: list[dict[str, Answer]] = [{} for _ in range(len(batch.lengths))]
    with evaluating(model):
        scores = model(here)
        for column in vocabulary.columns:
            of_column = _column(model, column, scores[column.name], here.lengths, probabilities, n_best)
            for answer, found in zip(answers, of_column, strict=True):
                answer[column.name] = found
    return answers


def _column(
    model: TaggerModel, column: Column, scores: torch.Tensor, lengths: torch.Tensor, probabilities: bool, n_best: int
) -> list[Answer]:
    answers = [Answer(tags) for tags in best_tags(model, column, scores, lengths)]
    if n_best:
        for answer, best in zip(answers, n_best_tags(model, column, scores, lengths, n_best), strict=True):
            answer.best = best
    if probabilities:
        certainty = Certainty.of(model, column, scores, lengths, [answer.tags for answer in answers])
        for b, (answer, of_tags) in enumerate(zip(answers, certainty.tags.T.tolist(), strict=True)):
            answer.probabilities = of_tags[: len(answer.tags)]
            found = spans(answer.tags, column.scheme) if column.scheme else []
            answer.spans = [(span, certainty.of_span(b, span)) for span in found]
    return answers
