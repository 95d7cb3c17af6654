"""The verb ``align``: where each character of a known text is, as TextGrid and JSON."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of
from gateflow.data.series import Series
from gateflow.data.textgrid import Interval, textgrid
from gateflow.decoding.ctc import align
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.files import write
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.transcriber.batches import Encoded
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.data import read_with_texts, unwritable
from gateflow.tasks.transcriber.inputs.base import Input
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load
from gateflow.tasks.transcriber.prediction import CHUNK, Character, characters_of, log_probabilities

__all__ = ["Aligned", "align_lines", "aligned"]


@dataclass(frozen=True)
class Aligned:
    """A line with its text laid out on it.

    Attributes:
        line: with its text.
        characters: those that the network knows, each with its place.
        score: the log-probability of the best path that spells them, in nats.
        end: of the line, in the unit of the places.
    """

    line: Series
    characters: tuple[Character, ...]
    score: float
    end: float

    def words(self) -> list[Interval]:
        """From the first to the last character of each word."""
        found: list[Interval] = []
        joined = False
        for character in self.characters:
            if character.text == " ":
                joined = False
            elif joined:
                found[-1] = (found[-1][0], character.end, found[-1][2] + character.text)
            else:
                found.append((character.begin, character.end, character.text))
                joined = True
        return found

    def to_dict(self, one: str, unit: str) -> dict[str, Any]:
        """As data; `one` is what a line is called."""
        named = ("begin", "end", "text")
        return {
            one: self.line.name,
            "text": self.line.label,
            "unit": unit,
            "end": round(self.end, 4),
            "score": self.score,
            "characters": [{**vars(x), "begin": round(x.begin, 4), "end": round(x.end, 4)} for x in self.characters],
            "words": [dict(zip(named, (round(a, 4), round(b, 4), text), strict=True)) for a, b, text in self.words()],
        }

    def to_textgrid(self) -> str:
        """As Praat reads it: a tier of characters and one of words."""
        characters = [(x.begin, x.end, x.text) for x in self.characters]
        return textgrid({"characters": characters, "words": self.words()}, self.end)


def aligned(learnt: Learnt, lines: Sequence[Series], *, batch_size: int = 16) -> Iterator[Aligned]:
    """Yield for each line the best path that spells its text, in order: the same in any batch.

    Args:
        learnt: by a run.
        lines: with their texts, which fit into them; characters that the network does not know are passed over.
        batch_size: lines that are read side by side.
    """
    for block in blocks_of(lines, CHUNK):
        encoded = Encoded(learnt.encoder, block)
        order = sorted(range(len(block)), key=encoded.lengths.__getitem__)
        found: dict[int, Aligned] = {}
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            targets = [learnt.alphabet.numbers(str(block[i].label)) for i in rows]
            names = [block[i].place for i in rows]
            paths = align(*log_probabilities(learnt, encoded.batch(rows)), targets, names=names)
            for i, path in zip(rows, paths, strict=True):
                characters = characters_of(learnt, block[i], path)
                found[i] = Aligned(block[i], characters, path.score, learnt.encoder.end_of(block[i]))
        yield from (found[i] for i in range(len(block)))


def align_lines(given: Given, data: Path, out: Path, force: bool, skip_bad: bool, batch_size: int) -> Lines:
    """Write a TextGrid and a JSON file for each line, and say where they are; before the first all names are looked at.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the data are missing, cannot be read, have no texts, or ones that do not fit.
        ConfigError: a file would lie in the run, take the place of the data, or without `force` that of another.
        WriteError: a file cannot be written.
    """
    learnt, config = load(given.run), given.run.config()
    if out.resolve().is_relative_to(given.run.path.resolve()):
        raise ConfigError(f"--out {out} lies in the run, which is to hold nothing else; choose another folder.")
    found = read_with_texts(data, config, skip_bad=skip_bad, track=given.track)
    lines = _that_fit([learnt.encoder.fitting(line) for line in found], learnt, config, skip_bad=skip_bad)
    files = _files(lines, out)
    for file in (file for pair in files for file in pair):
        if file.resolve() == data.resolve():
            raise ConfigError(f"{file} is the file of --data, and would be replaced; choose another folder for --out.")
        if not force and (file.exists() or file.is_symlink()):
            raise ConfigError(f"{file} exists. Choose another folder for --out, or replace what is there with --force.")
    return Lines(_written(aligned(learnt, lines, batch_size=batch_size), input_of(config), files))


def _files(lines: Sequence[Series], out: Path) -> list[tuple[Path, Path]]:
    """A TextGrid and a JSON file for each line."""
    taken: set[str] = set()
    names = [_free_name(line.name or line.place, taken) for line in lines]
    return [(out / f"{name}.TextGrid", out / f"{name}.json") for name in names]


def _written(found: Iterator[Aligned], kind: Input, files: Sequence[tuple[Path, Path]]) -> Iterator[tuple[str, Any]]:
    for each, (grid, file) in zip(found, files, strict=True):
        document = each.to_dict(kind.one, kind.unit)
        file.parent.mkdir(parents=True, exist_ok=True)
        write(grid, each.to_textgrid())
        write(file, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        confidence = min((x.confidence for x in each.characters), default=1.0)
        yield f"{each.line.name}\t{grid}\tleast confidence {confidence:.3f}", document


def _that_fit(lines: list[Series], learnt: Learnt, config: TranscriberConfig, *, skip_bad: bool) -> list[Series]:
    if unknown := sorted({x for line in lines for x in learnt.alphabet.unknown(str(line.label))}):
        _warn(
            f"{len(unknown):,} characters are unknown, since training had none of them, and have no place: "
            f"{', '.join(map(repr, unknown[:20]))}."
        )
    wrong = unwritable(lines, config, learnt.alphabet)
    if not wrong:
        return lines
    first, (need, there) = next(iter(wrong.items()))
    what = f"{lines[first].place}: its text needs {need:,} steps, and the layers read {there:,} of it"
    if not skip_bad or len(wrong) == len(lines):
        raise DataError(f"{what}. Look whether it is the right text; --skip-bad leaves such lines out.")
    _warn(f"{len(wrong):,} of {len(lines):,} lines have too few steps for their texts and are left out. {what}.")
    return [line for i, line in enumerate(lines) if i not in wrong]


def _free_name(name: str, taken: set[str]) -> str:
    """A name for files, out of that of a line: its last part, without what a file system may not take."""
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip(".-")[:100] or "line"
    numbers = (f"-{k}" if k > 1 else "" for k in range(1, len(taken) + 2))
    found = next(stem + number for number in numbers if stem + number not in taken)
    taken.add(found)
    return found


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=3)
