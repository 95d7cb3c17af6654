"""The verb ``evaluate``: how good a tagger is on tagged sentences, by type, by length, and for words it never saw."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateflow.data.tagged import TaggedSentence
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.predictions import refuse_bad_output
from gateflow.tasks.score import Score
from gateflow.tasks.tagger.data import known_by_heart, read_as_learnt, write_sentences
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.measures import Measures
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.prediction import predict
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import own_sentences
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

# Mistakes that are told, the most frequent first: with 17 tags there are 272 kinds of them.
TOLD = 10


@dataclass
class Evaluation:
    """The figures of each column, and how fast they were found.

    Attributes:
        measures: of each column.
        answers: the tags that were given, by column, for each sentence.
        seconds: of predictions alone.
    """

    measures: dict[str, Measures]
    answers: list[dict[str, list[str]]] = field(default_factory=list)
    seconds: float = 0.0


def evaluate(
    model: TaggerModel,
    vocabulary: Vocabulary,
    sentences: Sequence[TaggedSentence],
    batch_size: int = 64,
    track: Any = None,
) -> Evaluation:
    """Tag sentences whose tags are known, and compare: the same predictions as for new text."""
    found = Evaluation({column.name: Measures(column.scheme) for column in vocabulary.columns})
    began = time.perf_counter()
    answers = predict(model, vocabulary, [s.words for s in sentences], batch_size=batch_size)
    shown = answers if track is None else track(answers, "tagging", len(sentences))
    found.answers = [{name: answer.tags for name, answer in of_all.items()} for of_all in shown]
    found.seconds = time.perf_counter() - began
    for sentence, tags in zip(sentences, found.answers, strict=True):
        seen = [vocabulary.knows(word) for word in sentence.words]
        for name, measures in found.measures.items():
            measures.add(sentence.tags[name], tags[name], seen)
    return found


def evaluate_run(given: Given, data: Path | None, predictions: Path | None, batch_size: int) -> Tables:
    """The verb ``evaluate``: see `evaluate`.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or lacks a column that the run has learnt.
        ConfigError: the file for predictions is one with data, or a part of the run.
        WriteError: the file for predictions cannot be written.
    """
    run: TaggerRun = given.run
    vocabulary = load_vocabulary(run)
    model = load_model(run, vocabulary)
    if data is None:
        sentences = own_sentences(run, vocabulary, "valid")
    else:
        sentences = read_as_learnt(data, run.config().data, vocabulary)
    refuse_bad_output(predictions, run, {"--data": data})
    found = evaluate(model, vocabulary, sentences, batch_size, given.track)
    if predictions is not None:
        _write_predictions(predictions, sentences, found)
    words, seconds = sum(len(sentence.words) for sentence in sentences), max(found.seconds, 1e-9)
    speed = f"{len(sentences) / seconds:,.0f} sentences a second, {words / seconds:,.0f} words"
    tables = [table for column in vocabulary.columns for table in _tables(column, found.measures[column.name])]
    lines = [_line(column, found.measures[column.name]) for column in vocabulary.columns]
    figures = {name: measures.figures() for name, measures in found.measures.items()}
    learnt = _learnt_from(run, vocabulary, sentences)
    if learnt:
        lines.append(
            f"{learnt:,} of the {len(sentences):,} sentences are in the training part too, word for word; the figures "
            "are better than those on new text will be"
        )
    told = {"columns": figures, "sentences_in_training": learnt, "seconds": found.seconds}
    return Tables(tables, told, [*lines, speed])


def _learnt_from(run: TaggerRun, vocabulary: Vocabulary, sentences: Sequence[TaggedSentence]) -> int | None:
    """How many of these the run has learnt from; None where its training part was taken away."""
    if not run.sentences_file("train").is_file():
        return None
    known = known_by_heart(own_sentences(run, vocabulary, "train"))
    return sum(sentence.words in known for sentence in sentences)


def _line(column: Column, measures: Measures) -> str:
    if column.scheme is None:
        return f"{column.name}: {_percent(measures.accuracy)} of {measures.words:,} words right"
    score = measures.micro()
    return (
        f"{column.name}: F1 {_percent(score.f1)}, precision {_percent(score.precision)}, recall "
        f"{_percent(score.recall)} ({score.gold:,} entities in {measures.sentences:,} sentences)"
    )


def _tables(column: Column, measures: Measures) -> Iterator[Table]:
    what, counted = ("type", "entities") if column.scheme else ("tag", "words")
    rows = [_row(name, score) for name, score in measures.per_type().items()]
    macro = measures.macro()
    rows.append(_row("all (micro)", measures.micro()))
    rows.append(("mean of types (macro)", *(_percent(x) for x in (macro.precision, macro.recall, macro.f1)), "", ""))
    yield Table((what, "precision", "recall", "F1", counted, "found"), rows, title=f"{column.name}: by {what}")
    if mistakes := measures.mistakes(TOLD):
        told = [(gold, ours, f"{count:,}") for gold, ours, count in mistakes]
        yield Table(("right", "tagger", "times"), told, title=f"{column.name}: the commonest mistakes")
    parts = {f"sentences of {name} words": score for name, score in measures.by_length().items()}
    # What is counted are words, or entities, which may hold several.
    names = {"seen": "seen in training", "unseen": "with a word never seen" if column.scheme else "never seen"}
    parts |= {f"{counted} {names[name]}": score for name, score in measures.by_seen().items()}
    told = [_row(name, score) for name, score in parts.items()]
    yield Table(
        ("where", "precision", "recall", "F1", counted, "found"),
        told,
        title=f"{column.name}: by length, and by what is new",
    )


def _row(name: str, score: Score) -> tuple[str, ...]:
    shares = (_percent(x) for x in (score.precision, score.recall, score.f1))
    return (name, *shares, f"{score.gold:,}", f"{score.predicted:,}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _write_predictions(file: Path, sentences: Sequence[TaggedSentence], found: Evaluation) -> None:
    """A word a line, then for each column its right tag and the tagger's; a blank line after each sentence."""

    def both(sentence: TaggedSentence, answer: dict[str, list[str]]) -> TaggedSentence:
        columns = [tags for name, ours in answer.items() for tags in (sentence.tags[name], tuple(ours))]
        return replace(sentence, tags={str(k): tags for k, tags in enumerate(columns)})

    write_sentences(file, map(both, sentences, found.answers))
