"""From a configuration and files of lines with their texts to a run that can be trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateflow.data.folds import drawn
from gateflow.data.parts import Parts
from gateflow.data.series import Series
from gateflow.data.series.packed import packed, unpacked
from gateflow.data.track import Track
from gateflow.decoding.ctc.alignment import frames_needed
from gateflow.errors import DataError, DataWarning, RunError
from gateflow.files import write
from gateflow.runs.new_run import new_run
from gateflow.tasks.duplicates import tell_duplicates
from gateflow.tasks.transcriber.alphabet import Alphabet, rare
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs.base import Encoder
from gateflow.tasks.transcriber.loading import build_model, input_of, load_alphabet, load_encoder
from gateflow.tasks.transcriber.model import TranscriberModel
from gateflow.tasks.transcriber.run import TranscriberRun
from gateflow.training.start import begin_run

__all__ = ["begin", "own_lines", "read_with_texts", "set_up", "unwritable"]

told = logging.getLogger(__name__)

REMEDY = "set the run up again with `gateflow train transcriber --force`"
# Characters that training sees less often are hardly learnt; and lines or characters that a message names.
RARE, NAMED = 5, 20


def set_up(
    path: Path,
    config: TranscriberConfig,
    *,
    force: bool = False,
    given: Mapping[str, Callable[[TranscriberConfig], list[Series]]] | None = None,
) -> TranscriberRun:
    """A new run: an alphabet, how lines are read, the lines, and a checkpoint of step 0.

    Args:
        path: of the run.
        config: of the run; what it leaves to be found by looking stands in the run as it was found.
        force: replace a run.
        given: reads the lines of ``train`` and ``valid``, if they lie in no file.

    Warns:
        DataWarning: lines are in both parts; characters are in the validation part alone; lines are left out.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a file is missing or cannot be read, or a line has no text, or one too long for it.
        ConfigError: a package is not installed.
    """
    config = config.found()
    kind = input_of(config)
    with new_run(TranscriberRun, path, config, force=force) as run:
        parts = _read_parts(config, given or {})
        encoder = kind.fitted(config, parts.train)
        alphabet = Alphabet.of(str(line.label) for line in parts.train)
        train, valid = (_that_fit(part, config, encoder, alphabet) for part in (parts.train, parts.valid))
        _tell_characters(alphabet, train, valid)
        tell_duplicates({x.key for x in train}, (x.key for x in valid), f"{kind.many} to validate on")
        write(run.alphabet_file, alphabet.model_dump_json(indent=1) + "\n")
        kind.write(encoder, run)
        run.part_file("train").parent.mkdir()
        for name, part in (("train", train), ("valid", valid)):
            write(run.part_file(name), packed(part))
        begin_run(run, config, lambda: begin(run, config))
    return TranscriberRun.open(path)


def begin(run: TranscriberRun, config: TranscriberConfig) -> TranscriberModel:
    """The network with its initial weights."""
    return build_model(config, load_encoder(run), load_alphabet(run))


def read_with_texts(
    path: Path, config: TranscriberConfig, *, skip_bad: bool = False, track: Track | None = None
) -> list[Series]:
    """The lines of a file or folder, each with its text.

    Raises:
        DataError: one cannot be read, or has no text.

    Warns:
        DataWarning: some were left out.
    """
    kind = input_of(config)
    lines = list(kind.read(path, config, skip_bad=skip_bad, track=track))
    bare = [line for line in lines if not line.label]
    found = [line for line in lines if line.label]
    if bare and (not skip_bad or not found):
        raise DataError(
            f"{path}, {bare[0].place} has no text, like {len(bare) - 1:,} others. Write it behind its path, or into a "
            "file x.gt.txt beside x.png; --skip-bad leaves such lines out."
        )
    if bare:
        _warn(f"{path}: {len(bare):,} of {len(lines):,} {kind.many} have no text and are left out: {_names(bare)}.")
    return found


def own_lines(run: TranscriberRun, part: str) -> list[Series]:
    """The lines of a part of a run, as its set-up has written them.

    Raises:
        RunError: the file is missing or damaged.
    """
    file = run.unharmed(run.part_file(part), REMEDY)
    try:
        found = unpacked(file)[0]
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {REMEDY}.") from error
    if any(not isinstance(line.label, str) or line.times is None for line in found):
        raise RunError(f"{file} is damaged: a line has no text; {REMEDY}.")
    return found


def unwritable(lines: Iterable[Series], config: TranscriberConfig, alphabet: Alphabet) -> dict[int, tuple[int, int]]:
    """The lines whose text is longer than they have steps: by number the steps that it needs, and those there are."""
    found = {}
    for i, line in enumerate(lines):
        need, there = frames_needed(alphabet.numbers(str(line.label))), -(-len(line) // config.reduction)
        if need > there:
            found[i] = need, there
    return found


def _read_parts(
    config: TranscriberConfig, given: Mapping[str, Callable[[TranscriberConfig], list[Series]]]
) -> Parts[Series]:
    data, kind = config.data, input_of(config)

    def read(name: str, path: Path) -> list[Series]:
        return given[name](config) if name in given else read_with_texts(path, config, skip_bad=data.skip_bad)

    lines = read("train", data.train)
    if data.valid is not None:
        return Parts(lines, read("valid", data.valid))
    if len(lines) < 2:
        raise DataError(f"{data.train} has one {kind.one}, so none can be held out; give a second file with --valid.")
    # One without a group is a group of its own.
    groups = [("alone", i) if line.group is None else line.group for i, line in enumerate(lines)]
    out = set(drawn([()] * len(lines), data.held_out, groups=groups if any(x.group for x in lines) else None))
    return Parts([x for i, x in enumerate(lines) if i not in out], [x for i, x in enumerate(lines) if i in out])


def _that_fit(lines: Sequence[Series], config: TranscriberConfig, encoder: Encoder, alphabet: Alphabet) -> list[Series]:
    """The lines that can be learnt.

    Raises:
        DataError: one cannot, and is not to be left out; or none can.
    """
    fitting = [encoder.fitting(line) for line in lines]
    wrong = unwritable(fitting, config, alphabet)
    if not wrong:
        return fitting
    first, (need, there) = next(iter(wrong.items()))
    remedy = f"Look whether the text is that of this {input_of(config).one}"
    remedy += f"; --reduce {config.reduction // 2} leaves more steps" if config.reduction > 1 else ""
    what = (
        f"{fitting[first].place}: its text {str(fitting[first].label)[:60]!r} needs {need:,} steps, and the layers "
        f"read {there:,} of it."
    )
    if not config.data.skip_bad or len(wrong) == len(lines):
        raise DataError(
            f"{what} In all {len(wrong):,} of {len(lines):,} lines are too short. {remedy}; --skip-bad leaves them out."
        )
    _warn(f"{len(wrong):,} of {len(lines):,} lines have too few steps for their texts and are left out. {what}")
    return [line for i, line in enumerate(fitting) if i not in wrong]


def _tell_characters(alphabet: Alphabet, train: Sequence[Series], valid: Sequence[Series]) -> None:
    """Say which characters are hardly learnt, and which cannot be.

    Raises:
        DataError: of those to validate on none can.
    """
    texts, others = ([str(line.label) for line in part] for part in (train, valid))
    if few := rare(texts, RARE):
        shown = ", ".join(f"{character!r} {count}" for character, count in list(few.items())[:NAMED])
        told.info(
            f"of {len(alphabet):,} characters {len(few):,} occur less than {RARE} times and will hardly be learnt: "
            f"{shown}{', …' if len(few) > NAMED else ''}"
        )
    if new := sorted({character for text in others for character in alphabet.unknown(text)}):
        names = ", ".join(map(repr, new[:NAMED]))
        if not any(alphabet.numbers(text) for text in others):
            raise DataError(
                "the validation part cannot be judged: no character of its texts is in the part to learn from, which "
                f"lacks {names}. Look whether both have texts of one kind."
            )
        _warn(
            f"{len(new):,} characters of the validation part cannot be learnt, since nothing to learn from has them: "
            f"{names}."
        )


def _names(lines: Sequence[Series]) -> str:
    return ", ".join(line.name or line.place for line in lines[:3]) + (", …" if len(lines) > 3 else "")


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=5)
