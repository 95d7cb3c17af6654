"""From a configuration and files of labelled texts to a run that can be trained."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gateflow.data.folds import drawn, folds_of
from gateflow.data.labelled import LabelledText, read_labelled
from gateflow.errors import ConfigError, DataError, RunError
from gateflow.files import appears_whole, write
from gateflow.runs.new_run import new_run
from gateflow.tasks.classifier.checks import checked_labels, tell_about_labels, tell_about_texts
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.config import ClassifierConfig, TextsConfig
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.loading import build_model
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.vocabulary import Pieces, Vocabulary, Words
from gateflow.tasks.duplicates import tell_duplicates
from gateflow.tasks.transfer import begin_from_language_model, tokenizer_of
from gateflow.tasks.vectors import begin_from_vectors
from gateflow.training.start import begin_run

__all__ = ["Parts", "own_texts", "read_parts", "read_texts", "set_up", "write_texts"]

REMEDY = "set the run up again with `gateflow train classifier --force`"


class Parts(NamedTuple):
    """Texts to learn from, to validate on, and those of the fold to be tested on, if there are folds."""

    train: list[LabelledText]
    valid: list[LabelledText]
    test: list[LabelledText]


def set_up(path: Path, config: ClassifierConfig, *, force: bool = False) -> ClassifierRun:
    """A new run: its labels, its tokens, its texts, and a checkpoint of step 0.

    Warns:
        DataWarning: texts are in two parts, empty, or longer than is read; labels are in the validation part alone, or
            look like numbers or the name of a column.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a file is missing, holds no labelled texts, or there is nothing to learn.
        ConfigError: folds are asked for and no one of them, a class weight is that of no label, or what is to be begun
            from does not fit.
    """
    with new_run(ClassifierRun, path, config, force=force) as run:
        parts = read_parts(config.data)
        labels = checked_labels(parts.train, parts.valid + parts.test, config.data.multi_label)
        # Told now, and not when the run is there and its training begins.
        class_weights(config.training.class_weights, dict.fromkeys(labels.names, 1), texts=1)
        tell_about_labels(labels, parts.train, parts.valid)
        for part, what in ((parts.valid, "texts to validate on"), (parts.test, "texts to test on")):
            tell_duplicates({text.text for text in parts.train if text.text}, (text.text for text in part), what)
        vocabulary = _vocabulary(config.data, [text.text for text in parts.train], run.path)
        tell_about_texts([text.text for text in parts.train], vocabulary, config.data.longest)
        write(run.labels_file, labels.to_json())
        write(run.tokenizer_file if config.data.tokenizer == "bpe" else run.vocabulary_file, vocabulary.to_json())
        run.texts_file("train").parent.mkdir()
        for name, part in parts._asdict().items():
            if part:
                write_texts(run.texts_file(name), part)
        begin_run(run, config, lambda: _begun(config, vocabulary, labels))
    return ClassifierRun.open(path)


def read_parts(data: TextsConfig) -> Parts:
    """The texts of a configuration, cut into parts.

    Raises:
        DataError: a file is missing or holds no labelled texts, or fewer than parts.
        ConfigError: there are folds, and it is not said which one this is.
    """
    if data.folds is not None and data.fold is None:
        raise ConfigError(f"--folds {data.folds} makes {data.folds} runs; say which one this is with --fold.")
    train, test = read_texts(data.train, data), list[LabelledText]()
    if data.folds is not None:
        if len(train) < 2 * data.folds:
            raise DataError(f"{data.train} has {len(train)} texts, too few for {data.folds} folds; take fewer.")
        folds = folds_of([text.labels for text in train], data.folds, stratified=data.stratified)
        test = [text for text, fold in zip(train, folds, strict=True) if fold + 1 == data.fold]
        train = [text for text, fold in zip(train, folds, strict=True) if fold + 1 != data.fold]
    if data.valid is not None:
        known = {str(label) for text in train for label in text.labels}
        return Parts(train, read_texts(data.valid, data, known=known), test)
    if len(train) < 2:
        raise DataError(f"{data.train} has one text, so none can be held out; give a second file with --valid.")
    out = set(drawn([text.labels for text in train], data.held_out, stratified=data.stratified))
    return Parts(
        [text for i, text in enumerate(train) if i not in out], [text for i, text in enumerate(train) if i in out], test
    )


def read_texts(
    path: Path, data: TextsConfig, text: str | None = None, label: str | None = None, known: Collection[str] = ()
) -> list[LabelledText]:
    """All texts of a file, by the columns of the configuration or by others; `known` are labels of other files."""
    separator = data.separator if data.multi_label else None
    text, label = text or data.text, label or data.label
    return list(read_labelled(path, text=text, label=label, separator=separator, known=known))


def write_texts(file: Path, texts: Iterable[LabelledText]) -> None:
    """A JSON object a line, in which any text fits and labels stay what they are."""
    with appears_whole(file) as out:
        for text in texts:
            row = {"text": text.text, "labels": list(text.labels)}
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def own_texts(run: ClassifierRun, labels: Labels, part: str) -> list[LabelledText]:
    """The texts of a part of a run, as its set-up has written them.

    Raises:
        RunError: the file is missing or damaged.
    """
    file = run.unharmed(run.texts_file(part), REMEDY)
    try:
        found = list(read_labelled(file, text="text", label="labels", separator=","))
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {REMEDY}.") from error
    if not labels.multi_label and (wrong := next((text for text in found if len(text.labels) != 1), None)):
        raise RunError(f"{file}, line {wrong.line}: {len(wrong.labels)} labels where there should be one; {REMEDY}.")
    if strangers := {str(label) for text in found for label in text.labels} - set(labels.names):
        raise RunError(f"{file} has the label {min(strangers)!r:.80}, which the run's labels lack; {REMEDY}.")
    return found


def _vocabulary(data: TextsConfig, texts: Sequence[str], folder: Path) -> Vocabulary:
    """The tokens of the texts that are learnt from."""
    if data.tokenizer != "bpe":
        return Words.of(data.tokenizer, texts, longest=data.longest, min_count=data.min_count, most=data.vocab_size)
    # Vectors of a language model are those of its own pieces.
    return Pieces(tokenizer_of(data.from_lm)) if data.from_lm else Pieces.of(texts, folder, most=data.vocab_size)


def _begun(config: ClassifierConfig, vocabulary: Vocabulary, labels: Labels) -> ClassifierModel:
    """The network with its initial weights, those of word vectors or of a language model if it begins from these."""
    model = build_model(config.model, vocabulary, labels)
    if config.data.embeddings is not None and isinstance(vocabulary, Words):
        begin_from_vectors(model.embedding, vocabulary.tokens, config.data.embeddings)
    if config.data.from_lm is not None:
        tokens = {"jamo": "char"}.get(config.data.tokenizer, config.data.tokenizer)
        begin_from_language_model(
            model, config.model, vocabulary.number, config.data.from_lm, reader="classifier", tokens=tokens
        )
    return model
