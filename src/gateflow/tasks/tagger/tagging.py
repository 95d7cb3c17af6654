"""The verb ``tag``: entities with their places in the text, or words with their tags, as the lines come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of, blocks_of_lines
from gateflow.data.spans import Span
from gateflow.data.tagged import TaggedSentence, read_tagged
from gateflow.data.words import Word, split_sentences
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.prediction import CHUNK, Answer, predict, refuse_no_crf
from gateflow.tasks.tagger.vocabulary import Vocabulary

__all__ = ["tag_text"]


def tag_text(given: Given, data: Path, conll: bool, nbest: int, batch_size: int) -> Lines:
    """What the tagger says of each line, or of each sentence of a file of columns.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        ConfigError: several sequences are asked for, and the tagger has no CRF.
        DataError: the data are missing, or no text.
    """
    vocabulary = load_vocabulary(given.run)
    model = load_model(given.run, vocabulary)
    refuse_no_crf(model, nbest)
    tagger = _Tagger(model, vocabulary, {"batch_size": batch_size, "probabilities": True, "n_best": nbest})
    if conll:
        words = given.run.config().data.words
        return Lines(tagger.of_columns(read_tagged(data, words=words, columns=None)))
    return Lines(tagger.of_text(blocks_of_lines(data, CHUNK)))


@dataclass(frozen=True)
class _Tagger:
    """A model with the options of its predictions."""

    model: TaggerModel
    vocabulary: Vocabulary
    options: Mapping[str, Any]

    def of_columns(self, sentences: Iterable[TaggedSentence]) -> Iterator[tuple[str, Any]]:
        """Words and tags in columns, a blank line after each sentence; the same as data."""
        for block in blocks_of(sentences, CHUNK):
            answers = predict(self.model, self.vocabulary, [s.words for s in block], **self.options)
            for sentence, answer in zip(block, answers, strict=True):
                rows = zip(sentence.words, *(of_column.tags for of_column in answer.values()), strict=True)
                data = {"line": sentence.line, "words": list(sentence.words), **_as_data(answer)}
                best = "".join(f"# {line}\n" for line in _best(answer))
                yield best + "".join("\t".join(row) + "\n" for row in rows), data

    def of_text(self, blocks: Iterable[Sequence[str]]) -> Iterator[tuple[str, Any]]:
        """For each line its entities, or its words with their tags where none marks entities; the same as data."""
        number = 0
        for block in blocks:
            split = [split_sentences(line) for line in block]
            texts = [[word.text for word in sentence] for sentences in split for sentence in sentences]
            answers = predict(self.model, self.vocabulary, texts, **self.options)
            for line, sentences in zip(block, split, strict=True):
                number += 1
                of_line = [(sentence, next(answers)) for sentence in sentences]
                shown = chain.from_iterable(self._shown(number, line, *found) for found in of_line)
                data = [{"words": _with_places(words), **_as_data(answer, line, words)} for words, answer in of_line]
                yield "\n".join(shown), {"line": number, "text": line, "sentences": data}

    def _shown(self, number: int, line: str, words: Sequence[Word], answer: Mapping[str, Answer]) -> Iterator[str]:
        marking = [column.name for column in self.vocabulary.columns if column.scheme]
        for name in marking:
            for span, p in answer[name].spans:
                begin, end = words[span.begin].begin, words[span.end - 1].end
                yield "\t".join((str(number), str(begin), str(end), span.type, f"{p:.3f}", line[begin:end]))
        if not marking:
            for i, word in enumerate(words):
                yield "\t".join((word.text, *(f"{a.tags[i]}\t{a.probabilities[i]:.3f}" for a in answer.values())))
            yield ""
        yield from (f"{number}\t{line}" for line in _best(answer))


def _best(answer: Mapping[str, Answer]) -> Iterator[str]:
    """The likeliest sequences of tags, if they are asked for: rank, probability, tags."""
    for of_column in answer.values():
        for k, (tags, p) in enumerate(of_column.best, 1):
            yield f"best {k}\t{p:.3f}\t{' '.join(tags)}"


def _with_places(words: Sequence[Word]) -> list[dict[str, Any]]:
    return [{"text": word.text, "begin": word.begin, "end": word.end} for word in words]


def _as_data(answer: Mapping[str, Answer], line: str = "", words: Sequence[Word] = ()) -> dict[str, Any]:
    """The answer of each column as data; places in the line, where there is one."""
    found: dict[str, Any] = {}
    for name, of_column in answer.items():
        spans = [
            {"type": s.type, "words": [s.begin, s.end], "probability": p, **_place(s, line, words)}
            for s, p in of_column.spans
        ]
        best = [{"tags": tags, "probability": p} for tags, p in of_column.best]
        found[name] = {"tags": of_column.tags, "probabilities": of_column.probabilities, "entities": spans}
        found[name] |= {"nbest": best} if best else {}
    return found


def _place(span: Span, line: str, words: Sequence[Word]) -> dict[str, Any]:
    if not words:
        return {}
    begin, end = words[span.begin].begin, words[span.end - 1].end
    return {"begin": begin, "end": end, "text": line[begin:end]}
