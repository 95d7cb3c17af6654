"""From a configuration and files of labelled examples to a run that can be trained."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateflow.data.folds import drawn, folds_of
from gateflow.errors import ConfigError, DataError, RunError
from gateflow.files import write
from gateflow.runs.new_run import new_run
from gateflow.tasks.classifier.checks import checked_targets, described, tell_about_labels
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs.base import Input
from gateflow.tasks.classifier.loading import input_of, load_encoder, load_targets
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels, Targets
from gateflow.tasks.duplicates import tell_duplicates
from gateflow.training.start import begin_run

__all__ = ["Parts", "begin", "own_examples", "read_parts", "set_up"]

told = logging.getLogger(__name__)

REMEDY = "set the run up again with `gateflow train classifier --force`"


class Parts(NamedTuple):
    """Examples to learn from, to validate on, and those of the fold to be tested on, if there are folds."""

    train: list[Any]
    valid: list[Any]
    test: list[Any]


def set_up(
    path: Path,
    config: ClassifierConfig,
    *,
    force: bool = False,
    given: Mapping[str, list[Any]] | None = None,
) -> ClassifierRun:
    """A new run: what is to be found, how examples are read, the examples, and a checkpoint of step 0.

    Args:
        path: of the run.
        config: of the run; what it leaves to be found by looking stands in the run as it was found.
        force: replace a run.
        given: the examples of ``train`` and ``valid``, if they lie in no file.

    Warns:
        DataWarning: examples are in two parts, empty, or longer than is read; labels are in the validation part alone,
            or look like numbers or the name of a column.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a file is missing, holds no labelled examples, or there is nothing to learn.
        ConfigError: folds are asked for and no one of them, a class weight is that of no label, or what is to be begun
            from does not fit.
    """
    config = config.found()
    kind = input_of(config)
    with new_run(ClassifierRun, path, config, force=force) as run:
        parts = read_parts(config, kind, given or {})
        targets = checked_targets(parts.train, parts.valid + parts.test, config, kind)
        if isinstance(targets, Labels):
            # Told now, and not when the run is there and its training begins.
            class_weights(config.training.class_weights, dict.fromkeys(targets.names, 1), texts=1)
            tell_about_labels(targets, parts.train, parts.valid)
        encoder = kind.fitted(config, parts.train, run.path)
        # What came from another file may have its columns in another order.
        parts = parts._replace(valid=list(map(encoder.fitting, parts.valid)))
        # Once for both parts: a key of a series is a digest of all its values.
        known = {key for example in parts.train if (key := example.key)}
        for part, what in ((parts.valid, "to validate on"), (parts.test, "to test on")):
            tell_duplicates(known, (example.key for example in part), f"{kind.many} {what}")
        kind.tell(parts.train, encoder)
        source = "to learn from" if given else f"of {config.data.train} to learn from"
        told.info(f"{kind.described(parts.train)} {source}; {described(targets, parts.train)}")
        write(run.labels_file if isinstance(targets, Labels) else run.numbers_file, targets.to_json())
        encoder.write(run)
        run.part_file("train", kind.suffix).parent.mkdir()
        for name, part in parts._asdict().items():
            if part:
                kind.write_part(run.part_file(name, kind.suffix), part)
        begin_run(run, config, lambda: begin(run, config))
    return ClassifierRun.open(path)


def begin(run: ClassifierRun, config: ClassifierConfig) -> ClassifierModel:
    """The network with its initial weights, those of word vectors or of a language model if it begins from these."""
    encoder = load_encoder(run)
    model = encoder.model(config, load_targets(run))
    input_of(config).begin(model, encoder, config)
    return model


def read_parts(config: ClassifierConfig, kind: Input[Any], given: Mapping[str, list[Any]]) -> Parts:
    """The examples of a configuration, cut into parts.

    Args:
        config: says where they lie and how they are cut.
        kind: of the examples.
        given: examples in place of those of files, by part.

    Raises:
        DataError: a file is missing or holds no labelled examples, or fewer than parts.
        ConfigError: there are folds, and it is not said which one this is.
    """
    data = config.data
    if data.folds is not None and data.fold is None:
        raise ConfigError(f"--folds {data.folds} makes {data.folds} runs; say which one this is with --fold.")
    train, test = given["train"] if "train" in given else kind.read(data.train, config), list[Any]()
    stratified = data.stratified and not (data.regression or data.per_step)
    if data.folds is not None:
        if len(train) < 2 * data.folds:
            raise DataError(f"{data.train} has {len(train)} {kind.many}, too few for {data.folds} folds; take fewer.")
        folds = folds_of([x.labels for x in train], data.folds, stratified=stratified, groups=_groups(train))
        test = [x for x, fold in zip(train, folds, strict=True) if fold + 1 == data.fold]
        train = [x for x, fold in zip(train, folds, strict=True) if fold + 1 != data.fold]
    if "valid" in given:
        return Parts(train, given["valid"], test)
    if data.valid is not None:
        return Parts(train, kind.read(data.valid, config, kind.asking(train)), test)
    if len(train) < 2:
        raise DataError(f"{data.train} has one {kind.one}, so none can be held out; give a second file with --valid.")
    groups = _groups(train)
    out = set(drawn([x.labels for x in train], data.held_out, stratified=stratified, groups=groups))
    _tell_groups(groups, out, kind, data.train)
    return Parts([x for i, x in enumerate(train) if i not in out], [x for i, x in enumerate(train) if i in out], test)


def own_examples(run: ClassifierRun, targets: Targets, part: str) -> list[Any]:
    """The examples of a part of a run, as its set-up has written them.

    Raises:
        RunError: the file is missing or damaged.
    """
    kind = input_of(run.config())
    file = run.unharmed(run.part_file(part, kind.suffix), REMEDY)
    try:
        found = kind.read_part(file)
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {REMEDY}.") from error
    _refuse_other_labels(found, targets, file)
    return found


def _tell_groups(groups: Sequence[Hashable] | None, out: Collection[int], kind: Input[Any], source: Path) -> None:
    if groups is not None:
        held_out = {groups[i] for i in out}
        told.info(
            f"{source} has {len(set(groups)):,} groups; {len(held_out):,} of them, {len(out):,} of {len(groups):,} "
            f"{kind.many}, are held out"
        )


def _groups(examples: Sequence[Any]) -> list[Hashable] | None:
    """The group of each, if they have some; one without a group is a group of its own."""
    groups = [example.group for example in examples]
    if all(group is None for group in groups):
        return None
    return [("alone", i) if group is None else group for i, group in enumerate(groups)]


def _refuse_other_labels(found: Sequence[Any], targets: Targets, file: Path) -> None:
    """Refuse examples that have other labels than the run."""
    for example in found:
        if not targets.per_step and targets.kind != "labels" and len(example.labels) != 1:
            raise RunError(
                f"{file}, {example.place}: {len(example.labels)} labels where there should be one; {REMEDY}."
            )
    if isinstance(targets, Labels):
        strangers = {str(label) for example in found for label in example.labels} - {*targets.names, ""}
        if strangers:
            raise RunError(f"{file} has the label {min(strangers)!r:.80}, which the run's labels lack; {REMEDY}.")
