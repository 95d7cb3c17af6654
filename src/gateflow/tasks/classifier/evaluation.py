"""The verb ``evaluate``: how good a classifier is on labelled texts, label by label, and how well it knows that."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateflow.data.labelled import LabelledText
from gateflow.errors import ConfigError, DataError
from gateflow.files import appears_whole
from gateflow.tasks.classifier.data import own_texts, read_texts
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.loading import load_labels, load_model, load_vocabulary
from gateflow.tasks.classifier.measures import Measures
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import Answer, predict
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.vocabulary import Vocabulary
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.predictions import refuse_to_replace

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

# Labels of a confusion table, and mistakes that are told in its place where there are more.
MOST_COLUMNS, TOLD = 12, 10


@dataclass
class Evaluation:
    """The figures, and how fast they were found.

    Attributes:
        measures: of all texts.
        answers: of each text.
        known: numbers of the texts that training has seen too.
        seconds: of predictions alone.
    """

    measures: Measures
    answers: list[Answer] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    seconds: float = 0.0


def evaluate(
    model: ClassifierModel,
    vocabulary: Vocabulary,
    labels: Labels,
    texts: Sequence[LabelledText],
    *,
    longest: int,
    batch_size: int = 64,
    seen: frozenset[str] = frozenset(),
    track: Any = None,
) -> Evaluation:
    """Classify texts whose labels are known, and compare: the same predictions as for new text.

    Args:
        model, vocabulary, labels: of one run.
        texts: with their labels.
        longest, batch_size: as for `predict`.
        seen: texts of the training.
        track: what shows progress.
    """
    found = Evaluation(Measures(labels.names, labels.multi_label))
    # Once for nothing: kernels are built or loaded before the clock starts.
    _ = list(predict(model, vocabulary, labels, [text.text for text in texts[:1]], longest=longest))
    began = time.perf_counter()
    given = predict(model, vocabulary, labels, (t.text for t in texts), longest=longest, batch_size=batch_size)
    found.answers = list(given if track is None else track(given, "classifying", len(texts)))
    found.seconds = time.perf_counter() - began
    for text, answer in zip(texts, found.answers, strict=True):
        found.measures.add([str(label) for label in text.labels], answer.labels, answer.probabilities)
    found.known = [i for i, text in enumerate(texts) if text.text in seen]
    return found


def evaluate_run(
    given: Given, data: Path | None, predictions: Path | None, text: str | None, label: str | None, batch_size: int
) -> Tables:
    """The verb ``evaluate``: see `evaluate`.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no labelled texts.
        ConfigError: the file for predictions is one with data, or a part of the run, or there are no columns to choose.
        WriteError: the file for predictions cannot be written.
    """
    run: ClassifierRun = given.run
    labels, vocabulary = load_labels(run), load_vocabulary(run)
    model, config = load_model(run, vocabulary, labels), run.config().data
    if data is None and (text or label):
        raise ConfigError("--text and --label say where --data has its columns; the run's own texts have none.")
    if data is None:
        texts = own_texts(run, labels, "test" if run.texts_file("test").is_file() else "valid")
    else:
        texts = read_texts(data, config, text, label, labels.numbers)
        _refuse_strange_labels(texts, labels, data)
    refuse_to_replace(predictions, run, data)
    seen = frozenset(text.text for text in own_texts(run, labels, "train"))
    found = evaluate(
        model, vocabulary, labels, texts, longest=config.longest, batch_size=batch_size, seen=seen, track=given.track
    )
    if predictions is not None:
        _write_predictions(predictions, texts, found, labels)
    figures = {**found.measures.figures(), "temperature": float(model.temperature), "seconds": found.seconds}
    if found.known:
        figures["new_texts"] = found.measures.without(found.known).figures()
    return Tables(list(_tables(found.measures, model)), figures, list(_lines(found, labels, model)))


def _refuse_strange_labels(texts: Sequence[LabelledText], labels: Labels, file: Path) -> None:
    """Refuse a file of which no label is known: another column was meant."""
    theirs = {str(label) for text in texts for label in text.labels}
    if theirs and not theirs & set(labels.names):
        raise DataError(
            f"{file} has none of the run's labels ({', '.join(labels.names):.100}), but "
            f"{', '.join(sorted(theirs)):.100}; say with --label which column has them."
        )


def _lines(found: Evaluation, labels: Labels, model: ClassifierModel) -> Iterator[str]:
    measures = found.measures
    yield _line(measures)
    if found.known:
        yield f"without the {len(found.known):,} texts that training has too: {_line(measures.without(found.known))}"
    if strangers := sorted({name for gold in measures.gold for name in gold} - set(labels.names)):
        yield f"labels that training has not seen, and that cannot be given: {', '.join(strangers):.200}"
    yield f"AUROC {_number(measures.auroc)}, log loss {_number(measures.log_loss)} nats"
    yield (
        f"expected calibration error {_percent(measures.calibration_error)}, at the temperature "
        f"{float(model.temperature):.2f}"
    )
    yield f"{len(found.answers) / max(found.seconds, 1e-9):,.0f} texts a second"


def _line(measures: Measures) -> str:
    texts = f"{len(measures.gold):,} texts"
    if measures.multi_label:
        return (
            f"micro F1 {_percent(measures.micro().f1)}, macro F1 {_percent(measures.macro().f1)}, all labels right of "
            f"{_percent(measures.accuracy)} of {texts}"
        )
    return f"accuracy {_percent(measures.accuracy)}, macro F1 {_percent(measures.macro().f1)} ({texts})"


def _tables(measures: Measures, model: ClassifierModel) -> Iterator[Table]:
    several = measures.multi_label
    thresholds = dict(zip(measures.names, (model.thresholds / model.temperature).sigmoid().tolist(), strict=True))
    rows = [
        (*_row(name, score), _number(measures.auroc_of(name)) if name in measures.names else "")
        + ((f"{thresholds[name]:.2f}" if name in thresholds else "",) if several else ())
        for name, score in measures.per_label().items()
    ]
    macro = measures.macro()
    shares = (_percent(x) for x in (macro.precision, macro.recall, macro.f1))
    rows.append(("mean of labels (macro)", *shares, "", "", _number(measures.auroc), *([""] * several)))
    columns = ("label", "precision", "recall", "F1", "texts", "found", "AUROC", *(["from"] * several))
    yield Table(columns, rows, title="by label")
    if not several and len(measures.per_label()) <= MOST_COLUMNS:
        confusion = measures.confusion()
        counted = zip(confusion.rows, confusion.counts, strict=True)
        yield Table(
            ("right \\ given", *confusion.columns),
            [(name, *(f"{count:,}" for count in counts)) for name, counts in counted],
            title="confusions",
        )
    elif mistakes := measures.mistakes(TOLD):
        told = [(gold, ours, f"{count:,}") for gold, ours, count in mistakes]
        yield Table(("right", "given", "times"), told, title="the commonest mistakes")
    told = [(_percent(p), _percent(share), f"{count:,}") for p, share, count in measures.calibration()]
    yield Table(("said to be right", "are right", "times"), told, title="calibration")


def _row(name: str, score: Any) -> tuple[str, ...]:
    shares = (_percent(x) for x in (score.precision, score.recall, score.f1))
    return (name, *shares, f"{score.gold:,}", f"{score.predicted:,}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _number(x: float) -> str:
    return "-" if math.isnan(x) else f"{x:.4f}"


def _write_predictions(file: Path, texts: Sequence[LabelledText], found: Evaluation, labels: Labels) -> None:
    """Right labels, given ones, the least probability of these, and the text, with spaces for tabs and line ends."""
    with appears_whole(file) as out:
        out.write(b"label\tgiven\tprobability\ttext\n")
        for text, answer in zip(texts, found.answers, strict=True):
            least = min((answer.probabilities[labels.numbers[name]] for name in answer.labels), default=0.0)
            gold, given = ",".join(map(str, text.labels)), ",".join(answer.labels)
            plain = " ".join(text.text.splitlines()).replace("\t", " ")
            out.write(f"{gold}\t{given}\t{least:.6f}\t{plain}\n".encode())
