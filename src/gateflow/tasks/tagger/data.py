"""From a configuration and files of tagged sentences to a run that can be trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from gateflow.data.parts import divided
from gateflow.data.spans import converted, find_scheme, labels_of, mended, spans
from gateflow.data.tagged import DOCUMENT, DOCUMENT_GROUP, TaggedSentence, read_tagged
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.files import appears_whole, write
from gateflow.runs.new_run import new_run
from gateflow.tasks.duplicates import tell_duplicates
from gateflow.tasks.tagger.config import SentencesConfig, TaggerConfig
from gateflow.tasks.tagger.loading import build_model, load_vocabulary
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary
from gateflow.tasks.transfer import begin_from_language_model
from gateflow.tasks.vectors import begin_from_vectors
from gateflow.training.start import begin_run

__all__ = [
    "LEARNT",
    "as_learnt",
    "begin",
    "known_by_heart",
    "read_as_learnt",
    "read_sentences",
    "set_up",
    "write_sentences",
]

# What is to be known and is nothing amiss; the command line prints it.
told = logging.getLogger(__name__)

# How entities are marked where they are learnt: on CoNLL 2003 and others better than IOB2 by some tenths of F1, since
# the end and the single word are said too. Source: Ratinov, Roth (2009), CoNLL. Answers come in it as spans.
LEARNT = "BIOES"

# Of words.
SHORTEST = 4


def set_up(
    path: Path,
    config: TaggerConfig,
    *,
    force: bool = False,
    given: Mapping[str, Sequence[TaggedSentence]] = MappingProxyType({}),
) -> TaggerRun:
    """A new run: its vocabulary, its sentences, and a checkpoint of step 0.

    Args:
        path, config, force: as of every set-up.
        given: sentences that are in no file, those to learn from as ``train``, those to validate on as ``valid``. The
            configuration then has a name for them; a sentence's line is its number.

    Warns:
        DataWarning: wrong sequences of tags were mended; sentences are in both parts; tags are in the second alone.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a file is missing, holds no tagged sentences, or has other columns than are asked for.
    """
    with new_run(TaggerRun, path, config, force=force) as run:
        train, valid = read_parts(config.data, given)
        columns = [_column(name, train, valid, config.data.scheme) for name in train[0].tags]
        train, valid = (
            as_learnt(
                part,
                {column.name: column.scheme for column in columns},
                f"the {name} part",
                "sentence {}" if source in given else "the sentence from line {} on",
            )
            for part, name, source in (
                (train, "training", "train"),
                (valid, "validation", "valid" if config.data.valid else "train"),
            )
        )
        tell_duplicates(known_by_heart(train), (sentence.words for sentence in valid), "sentences to validate on")
        learnt = [_learnt(column) for column in columns]
        vocabulary = Vocabulary.of(train, learnt, config.data.min_count)
        write(run.vocabulary_file, vocabulary.to_json())
        run.sentences_file("train").parent.mkdir()
        write_sentences(run.sentences_file("train"), train)
        write_sentences(run.sentences_file("valid"), valid)
        begin_run(run, config, lambda: begin(run, config))
    return TaggerRun.open(path)


def known_by_heart(train: Iterable[TaggedSentence]) -> set[tuple[str, ...]]:
    """The sentences that prove nothing when they come again. Greetings and headings are in every part: not counted."""
    return {sentence.words for sentence in train if len(sentence.words) >= SHORTEST}


def begin(run: TaggerRun, config: TaggerConfig) -> TaggerModel:
    """The network with its initial weights, those of word vectors or of a language model if it begins from these."""
    vocabulary = load_vocabulary(run)
    model = build_model(config.model, vocabulary)
    if config.data.embeddings is not None:
        begin_from_vectors(model.embedding, vocabulary.words, config.data.embeddings)
    if config.data.from_lm is not None:
        begin_from_language_model(model, config.model, vocabulary.word, config.data.from_lm, reader="tagger")
    return model


def read_parts(
    data: SentencesConfig, given: Mapping[str, Sequence[TaggedSentence]] = MappingProxyType({})
) -> tuple[list[TaggedSentence], list[TaggedSentence]]:
    """The sentences to learn from and those to validate on; what is given is not read."""
    if data.valid is not None:
        train, valid = (
            list(given[name]) if name in given else read_sentences(path, data)
            for name, path in (("train", data.train), ("valid", data.valid))
        )
        if (has := list(valid[0].tags)) != (wanted := list(train[0].tags)):
            raise DataError(
                f"{data.valid} has the columns {', '.join(has)}, and {data.train} has {', '.join(wanted)}; give both "
                "the same."
            )
        return train, valid
    if data.group is not None and "train" in given:
        raise ConfigError("--group is read from a file, and sentences were given; divide them, and give --valid.")
    sentences = list(given["train"]) if "train" in given else read_sentences(data.train, data, group=data.group)
    if data.group is None:
        return divided(sentences, data.held_out, source=str(data.train), item="sentence")[:2]
    groups = [sentence.group for sentence in sentences]
    if data.group == DOCUMENT_GROUP and set(groups) == {"0"}:
        raise DataError(
            f"--group document: {data.train} marks no documents ({DOCUMENT} or # newdoc); name a column that says the "
            "group, or leave --group out."
        )
    parts = divided(sentences, data.held_out, groups, source=str(data.train), item="sentence")
    told.info(
        f"{data.train} has {parts.groups:,} groups; {parts.held_out:,} of them, {len(parts.valid):,} of "
        f"{len(sentences):,} sentences, are held out to validate on."
    )
    return parts[:2]


def read_sentences(path: Path, data: SentencesConfig, group: str | None = None) -> list[TaggedSentence]:
    """All sentences of a file, with the columns that are asked for, and the group of each if it is."""
    columns, names = (tuple(filter(None, map(str.strip, text.split(",")))) for text in (data.columns, data.names))
    return list(read_tagged(path, words=data.words, columns=columns, names=names, group=group))


def read_as_learnt(path: Path, data: SentencesConfig, vocabulary: Vocabulary) -> list[TaggedSentence]:
    """All sentences of another file, their entities marked as the run's are; its tags may be ones the run never saw.

    Raises:
        DataError: the file is missing, or lacks a column that the run has learnt.
    """
    sentences = read_sentences(path, data)
    schemes: dict[str, str | None] = {column.name: column.scheme for column in vocabulary.columns}
    for name in [name for name, scheme in schemes.items() if scheme is not None]:
        found = find_scheme(s.tags[name] for s in sentences) if data.scheme == "auto" else data.scheme
        # A file without a single entity shows no scheme; all read it alike.
        schemes[name] = found or "IOB2"
    return as_learnt(sentences, schemes, str(path))


def write_sentences(file: Path, sentences: Iterable[TaggedSentence]) -> None:
    """A word a line, then its tags, separated by tabs; a blank line after each sentence."""
    with appears_whole(file) as out:
        for sentence in sentences:
            rows = zip(sentence.words, *sentence.tags.values(), strict=True)
            out.write(("".join("\t".join(row) + "\n" for row in rows) + "\n").encode())


def _column(name: str, train: Sequence[TaggedSentence], valid: Sequence[TaggedSentence], scheme: str) -> Column:
    """A column as the files have it."""
    found = find_scheme(s.tags[name] for s in train) if scheme == "auto" else None if scheme == "plain" else scheme
    tags, later = ({tag for s in part for tag in s.tags[name]} for part in (train, valid))
    if len(tags) < 2:
        raise DataError(
            f"column {name}: every word has the tag {next(iter(tags))!r:.80}, so there is nothing to learn."
        )
    if found is None and (new := sorted(later - tags)):
        warnings.warn(
            f"column {name}: {len(new)} tags are in the validation part alone and cannot be learnt, such as "
            f"{new[0]!r:.80}.",
            DataWarning,
            stacklevel=2,
        )
    return Column(name=name, scheme=found, labels=tuple(sorted(tags | later)))  # type: ignore[arg-type]


def as_learnt(
    sentences: Sequence[TaggedSentence],
    schemes: Mapping[str, str | None],
    part: str,
    place: str = "the sentence from line {} on",
) -> list[TaggedSentence]:
    """The sentences with their entities marked as `LEARNT` has it; wrong sequences of tags are mended and counted.

    Args:
        sentences: as a file has them.
        schemes: of each column; none for plain tags, which stay.
        part: what the sentences are called in messages.
        place: where a sentence stands, with room for its line.

    Warns:
        DataWarning: how many tags were changed in `part`.
    """
    marking = {name: scheme for name, scheme in schemes.items() if scheme is not None}
    changes = dict.fromkeys(marking, 0)
    done: list[TaggedSentence] = []
    for sentence in sentences:
        tags = dict(sentence.tags)
        for name, scheme in marking.items():
            try:
                right, count = mended(tags[name], scheme)
            except DataError as error:
                where = f"{part}, column {name}, {place.format(sentence.line)}"
                raise DataError(f"{where}: {error}") from None
            changes[name] += count
            tags[name] = tuple(converted(right, scheme, LEARNT))
        done.append(replace(sentence, tags=tags))
    for name, count in changes.items():
        if count:
            warnings.warn(
                f"column {name}: {count:,} tags of {part} cannot follow the one before, and were changed as "
                "conlleval reads them (an I- without its B- begins an entity).",
                DataWarning,
                stacklevel=2,
            )
    return done


def _learnt(column: Column) -> Column:
    """The column with the tags that are learnt: of each type of entity all, seen or not, so that all are possible."""
    if column.scheme is None:
        return column
    types = sorted(
        {span.type for tag in column.labels for span in spans(mended([tag], column.scheme)[0], column.scheme)}
    )
    return Column(name=column.name, scheme=LEARNT, labels=tuple(labels_of(types, LEARNT)))
