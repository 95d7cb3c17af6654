"""From a configuration and files of pairs to a run that can be trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from gateflow.data.folds import drawn
from gateflow.data.parallel import ParallelText, read_files, read_table
from gateflow.data.tokenizer_file import tokenizer_text
from gateflow.data.words import composed
from gateflow.errors import DataError, DataWarning, RunError
from gateflow.files import appears_whole, write
from gateflow.runs.new_run import new_run
from gateflow.tasks.duplicates import tell_duplicates
from gateflow.tasks.translator.config import PairsConfig, TokensConfig, TranslatorConfig
from gateflow.tasks.translator.encoding import EncodedPairs, feature_words
from gateflow.tasks.translator.features import tell_of_blank_features
from gateflow.tasks.translator.loading import Lengths, build_model, load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.tokens import Tokens, Vocabularies
from gateflow.training.start import begin_run

__all__ = ["begin", "learnt_from", "own_pairs", "read_pairs", "read_parts", "set_up"]


def set_up(
    path: Path,
    config: TranslatorConfig,
    *,
    force: bool = False,
    given: Mapping[str, Sequence[ParallelText]] = MappingProxyType({}),
) -> TranslatorRun:
    """A new run: its vocabularies, its pairs, and a checkpoint of step 0.

    Args:
        path, config, force: as of every set-up.
        given: pairs that are in no file, those to learn from as ``train``, those to validate on as ``valid``. The
            configuration then has a name for them.

    Warns:
        DataWarning: pairs are too long or teach nothing, and are left out; pairs are in both parts.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a file is missing, or holds no pairs; the message says which line.
    """
    with new_run(TranslatorRun, path, config, force=force) as run:
        train, valid = read_parts(config.data, given)
        known = {(_as_read(pair), pair.features) for pair in train}
        tell_duplicates(known, ((_as_read(pair), pair.features) for pair in valid), "sources to validate on")
        if config.data.features is not None:
            tell_of_blank_features(train)
        run.pairs_file("train").parent.mkdir()
        vocabularies = _vocabularies(config.tokens, train, run.path, features=config.data.features is not None)
        for side in ("source", "target", "features"):
            tokens = getattr(vocabularies, side)
            if tokens is not None and not (side == "target" and config.tokens.joint):
                write(run.tokens_file(side), tokenizer_text(tokens.tokenizer))
        kept, longest = learnt_from(vocabularies, train, config.tokens.longest, copying=config.model.pointer)
        _write_pairs(run.pairs_file("train"), kept)
        _write_pairs(run.pairs_file("valid"), valid)
        write(run.lengths_file, Lengths(longest_target=longest).model_dump_json() + "\n")
        begin_run(run, config, lambda: begin(run, config))
    return TranslatorRun.open(path)


def begin(run: TranslatorRun, config: TranslatorConfig) -> TranslatorModel:
    """The network with its initial weights."""
    return build_model(config, load_vocabularies(run))


def read_parts(
    data: PairsConfig, given: Mapping[str, Sequence[ParallelText]] = MappingProxyType({})
) -> tuple[list[ParallelText], list[ParallelText]]:
    """The pairs to learn from and those to validate on; what is given is not read.

    Each right target is learnt from; a source that has several then is in several pairs.
    """
    train = given["train"] if "train" in given else read_pairs(data.train, data.target_data, data)
    if data.valid is not None:
        valid = given["valid"] if "valid" in given else read_pairs(data.valid, data.target_valid, data)
    else:
        train, valid = _held_out(train, data)
    return [replace(pair, targets=(target,)) for pair in train for target in pair.targets], list(valid)


def _held_out(pairs: Sequence[ParallelText], data: PairsConfig) -> tuple[list[ParallelText], list[ParallelText]]:
    """The pairs to learn from and those held out, which are drawn: dictionaries come sorted, by letters or by length.

    No source is on both sides; of one that stands in several pairs all are held out or none.
    """
    sources = [_as_read(pair) for pair in pairs]
    if len(set(sources)) < 2:
        one = "one pair" if len(pairs) == 1 else f"one source in all its {len(pairs):,} pairs"
        raise DataError(f"{data.train} has {one}, so none can be held out; give a second file with --valid.")
    out = set(drawn([()] * len(pairs), data.held_out, groups=sources))
    return [x for i, x in enumerate(pairs) if i not in out], [x for i, x in enumerate(pairs) if i in out]


def _as_read(pair: ParallelText) -> str:
    """A source in the one form of Unicode that tokens are made of: lists out of several places mix two of them."""
    return composed(pair.source)


def read_pairs(path: Path, targets: Path | None, data: PairsConfig) -> list[ParallelText]:
    """All pairs of a table, or of a file of sources and those of their targets, which commas separate.

    Raises:
        DataError: a file is missing, or holds no pairs; the message says which line.
    """
    if targets is not None:
        files = [targets] if targets.exists() else [Path(name) for name in str(targets).split(",")]
        return list(read_files(path, files))
    return list(read_table(path, source=data.source, target=data.target, features=data.features))


def learnt_from(
    vocabularies: Vocabularies, pairs: Sequence[ParallelText], longest: int, *, copying: bool = False
) -> tuple[list[ParallelText], int]:
    """The pairs that can be learnt from, and the tokens of the longest target among them.

    With `copying` a target token that stands in the source is known.

    Warns:
        DataWarning: some are longer than `longest`, or have targets without a single known token.

    Raises:
        DataError: none is left.
    """
    encoded = EncodedPairs(vocabularies, pairs, copying=copying)
    # Both ends are no tokens of a text.
    short = [max(lengths) - 1 <= longest for lengths in encoded.lengths]
    unknown = vocabularies.target.unknown
    known = [unknown is None or bool((label[:-1] != unknown).any()) for label in encoded.labels]
    fitting = [all(fits) for fits in zip(short, known, strict=True)]
    kept = [pair for pair, fits in zip(pairs, fitting, strict=True) if fits]
    reasons = (
        (short, f"have more than {longest:,} tokens on a side (--longest)"),
        (known, "have no known target token"),
    )
    for fits, why in reasons:
        left = [pair for pair, fit in zip(pairs, fits, strict=True) if not fit]
        if left and kept:
            text = f"{len(left):,} of the {len(pairs):,} pairs {why}, the first in line {left[0].line}: left out."
            warnings.warn(text, DataWarning, stacklevel=3)
    if not kept:
        why = reasons[0][1] if not any(short) else reasons[1][1]
        raise DataError(f"no pair can be learnt from: all {len(pairs):,} {why}.")
    return kept, max(target for (_, target), fits in zip(encoded.lengths, fitting, strict=True) if fits)


def own_pairs(run: TranslatorRun, part: str) -> list[ParallelText]:
    """The pairs of a part of a run, as its set-up has written them.

    Raises:
        RunError: the file is missing or damaged.
    """
    remedy = "set the run up again with `gateflow train translator --force`"
    file = run.unharmed(run.pairs_file(part), remedy)
    try:
        return list(read_table(file, source="source", target="target", features="features"))
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {remedy}.") from error


def _write_pairs(file: Path, pairs: Iterable[ParallelText]) -> None:
    with appears_whole(file) as out:
        for pair in pairs:
            out.write((pair.to_json() + "\n").encode())


def _vocabularies(asked: TokensConfig, pairs: Sequence[ParallelText], folder: Path, *, features: bool) -> Vocabularies:
    def of(kind: str, texts: Iterator[str], most: int | None) -> Tokens:
        return Tokens.of(kind, texts, folder, most=most, min_count=asked.min_count)  # type: ignore[arg-type]

    sources, targets = (pair.source for pair in pairs), (target for pair in pairs for target in pair.targets)
    told = Tokens.of("word", (feature_words(pair.features) for pair in pairs), folder) if features else None
    if asked.joint:
        both = of(asked.tokenizer, (text for pair in pairs for text in (pair.source, *pair.targets)), asked.vocab_size)
        return Vocabularies(both, both, told)
    source = of(asked.tokenizer, sources, asked.vocab_size)
    return Vocabularies(source, of(asked.of_targets, targets, asked.target_vocab_size or asked.vocab_size), told)
