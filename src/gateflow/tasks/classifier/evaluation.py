"""The verb ``evaluate``: how good a classifier is on labelled examples, and how well it knows that."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateflow.errors import ConfigError, DataError
from gateflow.files import appears_whole
from gateflow.tasks.classifier.checks import refuse_no_numbers
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.inputs.base import Asked, Input
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.loading import input_of, load
from gateflow.tasks.classifier.measures import Measures
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import Answer, predict
from gateflow.tasks.classifier.regression import NumberMeasures
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels, Numbers, Targets, number_of
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.predictions import refuse_bad_output

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

# Labels of a confusion table, and mistakes that are told in its place where there are more.
MOST_COLUMNS, TOLD = 12, 10


@dataclass
class Evaluation:
    """The figures, and how fast they were found.

    Attributes:
        measures: of all examples, or of all their steps.
        answers: of each of these.
        known: how many of the examples training has seen too.
        of_new: the measures of the others, if there are such and some are known.
        seconds: of predictions alone.
    """

    measures: Measures | NumberMeasures
    answers: list[list[Answer]] = field(default_factory=list)
    known: int = 0
    of_new: Measures | NumberMeasures | None = None
    seconds: float = 0.0


def evaluate(
    learnt: Learnt,
    examples: Sequence[Any],
    *,
    batch_size: int = 64,
    seen: frozenset[Hashable] = frozenset(),
    track: Any = None,
) -> Evaluation:
    """Classify examples whose labels are known, and compare: the same predictions as for new ones.

    Args:
        learnt: by a run.
        examples: with their labels.
        batch_size: as for `predict`.
        seen: keys of the examples of the training.
        track: what shows progress.
    """
    # Once for nothing: kernels are built or loaded before the clock starts.
    _ = list(predict(learnt, examples[:1]))
    began = time.perf_counter()
    given = predict(learnt, examples, batch_size=batch_size)
    answers = list(given if track is None else track(given, "classifying", len(examples)))
    seconds = time.perf_counter() - began
    measures = measured(learnt.targets, examples, answers)
    new = [i for i, example in enumerate(examples) if example.key not in seen]
    known, of_new = len(examples) - len(new), None
    if known and new:
        of_new = measured(learnt.targets, [examples[i] for i in new], [answers[i] for i in new])
    return Evaluation(measures, answers, known, of_new, seconds)


def measured(
    targets: Targets, examples: Sequence[Any], answers: Sequence[Sequence[Answer]]
) -> Measures | NumberMeasures:
    """The figures of answers."""
    if isinstance(targets, Numbers):
        numbers = NumberMeasures()
        for example, found in zip(examples, answers, strict=True):
            for label, answer in zip(example.labels, found, strict=False):  # steps beyond the longest have no answer
                assert answer.number is not None
                numbers.add(number_of(label), answer.number)
        return numbers
    assert isinstance(targets, Labels)
    measures = Measures(targets.names, targets.multi_label)
    for example, found in zip(examples, answers, strict=True):
        names = list(map(str, example.labels))
        of_each = zip(([name] for name in names), found, strict=False) if targets.per_step else [(names, found[0])]
        for gold, answer in of_each:
            if gold != [""]:
                measures.add(gold, answer.labels, answer.probabilities)
    return measures


def evaluate_run(
    given: Given, data: Path | None, predictions: Path | None, text: str | None, label: str | None, batch_size: int
) -> Tables:
    """The verb ``evaluate``: see `evaluate`.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no labelled examples.
        ConfigError: the file for predictions is one with data, or a part of the run, or there are no columns to choose.
        WriteError: the file for predictions cannot be written.
    """
    run: ClassifierRun = given.run
    learnt, config = load(run), run.config()
    kind = input_of(config)
    if data is None and (text or label):
        raise ConfigError("--text and --label say where --data has its columns; the run's own examples have none.")
    if data is None:
        has_test = run.part_file("test", kind.suffix).is_file()
        examples = own_examples(run, learnt.targets, "test" if has_test else "valid")
    else:
        examples = _labelled(kind, learnt, config, data, Asked(text, label), given.track)
    refuse_bad_output(predictions, run, {"--data": data})
    seen = frozenset(example.key for example in own_examples(run, learnt.targets, "train"))
    found = evaluate(learnt, examples, batch_size=batch_size, seen=seen, track=given.track)
    if predictions is not None:
        _write_predictions(predictions, kind, learnt, examples, found)
    figures: dict[str, Any] = {**found.measures.figures(), "seconds": found.seconds}
    many = "steps" if learnt.targets.per_step else kind.many
    told = list(_lines(found, learnt, kind, many))
    if found.of_new is not None:
        figures[f"new_{kind.many}"] = found.of_new.figures()
    if isinstance(found.measures, NumberMeasures):
        return Tables([_errors(found.measures)], figures, told)
    figures["temperature"] = float(learnt.model.temperature)
    return Tables(list(_tables(found.measures, learnt.model, many)), figures, told)


def _labelled(
    kind: Input[Any], learnt: Learnt, config: ClassifierConfig, data: Path, asked: Asked, track: Any
) -> list[Any]:
    """The examples of another file, as the run reads them."""
    known = learnt.targets.numbers if isinstance(learnt.targets, Labels) else ()
    asked = replace(asked, known=known, channels=learnt.encoder.channel_names)
    examples = [learnt.encoder.fitting(example) for example in kind.read(data, config, asked, track)]
    if isinstance(learnt.targets, Labels):
        _refuse_strange_labels(examples, learnt.targets, data)
    else:
        refuse_no_numbers(examples, learnt.targets.per_step)
    return examples


def _refuse_strange_labels(examples: Sequence[Any], labels: Labels, file: Path) -> None:
    """Refuse a file of which no label is known: another column was meant."""
    theirs = {str(label) for example in examples for label in example.labels} - {""}
    if theirs and not theirs & set(labels.names):
        raise DataError(
            f"{file} has none of the run's labels ({', '.join(labels.names):.100}), but "
            f"{', '.join(sorted(theirs)):.100}; say with --label which column has them."
        )


def _errors(measures: NumberMeasures) -> Table:
    rows = [("MAE", f"{measures.mae:.6g}"), ("RMSE", f"{measures.rmse:.6g}"), ("R²", _number(measures.r2))]
    return Table(("figure", "value"), rows, title="errors")


def _lines(found: Evaluation, learnt: Learnt, kind: Input[Any], many: str) -> Iterator[str]:
    measures = found.measures
    yield _line(measures, many)
    if found.known:
        others = "that is all of them" if found.of_new is None else f"without them: {_line(found.of_new, many)}"
        yield f"{found.known:,} of the {kind.many} are in the training part too; {others}"
    if isinstance(measures, Measures):
        yield from _of_labels(measures, learnt.model)
    yield f"{len(found.answers) / max(found.seconds, 1e-9):,.0f} {kind.many} a second"


def _of_labels(measures: Measures, model: ClassifierModel) -> Iterator[str]:
    strangers = sorted({name for gold in measures.gold for name in gold} - set(measures.names))
    known = ""
    if strangers:
        yield f"labels that training has not seen, and that cannot be given: {', '.join(strangers):.200}"
        count = sum(set(gold) <= set(measures.names) for gold in measures.gold)
        known = "" if measures.multi_label else f" of the {count:,} with others"
    yield f"AUROC {_number(measures.auroc)}, log loss {_number(measures.log_loss)} nats{known}"
    yield (
        f"expected calibration error {_percent(measures.calibration_error)}, at the temperature "
        f"{float(model.temperature):.2f}"
    )


def _line(measures: Measures | NumberMeasures, many: str) -> str:
    texts = f"{len(measures.gold):,} {many}"
    if isinstance(measures, NumberMeasures):
        return f"MAE {measures.mae:.4g}, RMSE {measures.rmse:.4g}, R² {_number(measures.r2)} ({texts})"
    if measures.multi_label:
        return (
            f"micro F1 {_percent(measures.micro().f1)}, macro F1 {_percent(measures.macro().f1)}, all labels right of "
            f"{_percent(measures.accuracy)} of {texts}"
        )
    return f"accuracy {_percent(measures.accuracy)}, macro F1 {_percent(measures.macro().f1)} ({texts})"


def _tables(measures: Measures, model: ClassifierModel, many: str) -> Iterator[Table]:
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
    columns = ("label", "precision", "recall", "F1", many, "found", "AUROC", *(["from"] * several))
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


def _write_predictions(
    file: Path, kind: Input[Any], learnt: Learnt, examples: Sequence[Any], found: Evaluation
) -> None:
    """Right labels, given ones, the least probability of these, and the example; a line a step, if each has a label."""
    targets, per_step = learnt.targets, learnt.targets.per_step
    with appears_whole(file) as out:
        columns = ["label", "given", *(["probability"] if isinstance(targets, Labels) else []), *(["step"] * per_step)]
        out.write(("\t".join([*columns, kind.one]) + "\n").encode())
        for example, answers in zip(examples, found.answers, strict=True):
            # With spaces for tabs and line ends.
            plain = " ".join(str([*kind.called(example).values()][-1]).splitlines()).replace("\t", " ")
            gold = list(map(str, example.labels))
            for step, answer in enumerate(answers, 1):
                cells = [gold[step - 1] if per_step else ",".join(gold), *_cells(answer, targets)]
                out.write(("\t".join([*cells, *([str(step)] * per_step), plain]) + "\n").encode())


def _cells(answer: Answer, targets: Targets) -> list[str]:
    """What is given, and of labels the least probability."""
    if not isinstance(targets, Labels):
        return [f"{answer.number:.9g}"]
    least = min((answer.probabilities[targets.numbers[name]] for name in answer.labels), default=0.0)
    return [",".join(answer.labels), f"{least:.6f}"]
