"""The verb ``evaluate``: error rates of a transcriber on lines whose texts are known, and what it gets wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateflow.data.series import Series
from gateflow.files import appears_whole
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.predictions import refuse_bad_output
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.data import own_lines, read_with_texts
from gateflow.tasks.transcriber.inputs.base import Input
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load
from gateflow.tasks.transcriber.measures import Errors, character_errors, characters_taken, word_errors
from gateflow.tasks.transcriber.prediction import BEST_PATH, Answer, Decoding, predict
from gateflow.tasks.transcriber.run import TranscriberRun
from gateflow.tasks.transcriber.search import decoding_of

__all__ = ["Evaluation", "evaluate", "evaluate_run"]

# Lines and mistakes that are told, and characters that are unknown.
TOLD, NAMED = 10, 20


@dataclass
class Evaluation:
    """What was found on some lines.

    Attributes:
        right: their texts.
        answers: what was read in each.
        characters, words: the errors of each line.
        taken: how often each character was taken for each; see `characters_taken`.
        unknown: characters of the texts that cannot be written, with how often they occur.
        known: numbers of the lines that training has seen too.
        seconds: of predictions alone.
    """

    right: list[str]
    answers: list[Answer]
    characters: list[Errors]
    words: list[Errors]
    taken: Counter[tuple[str, str]]
    unknown: Counter[str]
    known: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cer(self) -> float:
        """The character error rate: edits of all lines for each character that is right."""
        return sum(self.characters, Errors()).rate

    @property
    def wer(self) -> float:
        """The word error rate."""
        return sum(self.words, Errors()).rate

    def worst(self, most: int = TOLD) -> list[int]:
        """Numbers of the lines with the highest share of errors, the worst first; of equal ones the longer first."""
        wrong = [i for i, errors in enumerate(self.characters) if errors.edits]
        return sorted(wrong, key=lambda i: (-self.characters[i].rate, -self.characters[i].count, i))[:most]

    def mistakes(self, most: int = TOLD) -> list[tuple[str, str, int]]:
        """The commonest mistakes: what is right, what was written for it, how often."""
        wrong = [(pair, count) for pair, count in self.taken.items() if pair[0] != pair[1]]
        return [(*pair, count) for pair, count in sorted(wrong, key=lambda x: (-x[1], x[0]))[:most]]

    def figures(self) -> dict[str, Any]:
        """All as data."""
        return {
            "cer": self.cer,
            "wer": self.wer,
            "characters": vars(sum(self.characters, Errors())),
            "words": vars(sum(self.words, Errors())),
            "lines": len(self.right),
            "lines_without_error": sum(not errors.edits for errors in self.characters),
            "unknown_characters": dict(self.unknown),
            "seconds": self.seconds,
        }


def evaluate(
    learnt: Learnt,
    lines: Sequence[Series],
    *,
    batch_size: int = 16,
    decoding: Decoding = BEST_PATH,
    seen: frozenset[Hashable] = frozenset(),
    track: Any = None,
) -> Evaluation:
    """Transcribe lines whose texts are known, and compare: the same answers as for new ones.

    Args:
        learnt: by a run.
        lines: with their texts.
        batch_size, decoding: as for `predict`.
        seen: keys of the lines of the training.
        track: what shows progress.

    Raises:
        ConfigError: jiwer is not installed.
    """
    # Once for nothing: kernels are built or loaded before the clock starts.
    _ = list(predict(learnt, lines[:1]))
    began = time.perf_counter()
    given = predict(learnt, lines, batch_size=batch_size, decoding=decoding)
    answers = list(given if track is None else track(given, "transcribing", len(lines)))
    seconds = time.perf_counter() - began
    return measured(learnt.alphabet, lines, answers, [i for i, x in enumerate(lines) if x.key in seen], seconds)


def measured(
    alphabet: Alphabet, lines: Sequence[Series], answers: list[Answer], known: list[int], seconds: float = 0.0
) -> Evaluation:
    """The figures of answers."""
    right, given = [str(line.label) for line in lines], [answer.text for answer in answers]
    unknown = Counter(character for text in right for character in alphabet.unknown(text))
    of_characters, of_words = character_errors(right, given), word_errors(right, given)
    taken = characters_taken(right, given)
    return Evaluation(right, answers, of_characters, of_words, taken, unknown, known, seconds)


def evaluate_run(
    given: Given,
    data: Path | None,
    predictions: Path | None,
    beam: int | None,
    lm: Path | None,
    lm_weight: float,
    insertion: float,
    skip_bad: bool,
    batch_size: int,
) -> Tables:
    """The verb ``evaluate``: see `evaluate`.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the data are missing, cannot be read, or have no texts.
        ConfigError: the file for predictions is one with data, or a part of the run; or jiwer is not installed.
        WriteError: the file for predictions cannot be written.
    """
    run: TranscriberRun = given.run
    learnt, config = load(run), run.config()
    kind = input_of(config)
    if data is None:
        lines = own_lines(run, "valid")
    else:
        found = read_with_texts(data, config, skip_bad=skip_bad, track=given.track)
        lines = [learnt.encoder.fitting(line) for line in found]
    refuse_bad_output(predictions, run, {"--data": data, "--lm": lm})
    seen = frozenset(line.key for line in own_lines(run, "train"))
    decoding = decoding_of(learnt.alphabet, beam, 1, lm, lm_weight, insertion)
    found = evaluate(learnt, lines, batch_size=batch_size, decoding=decoding, seen=seen, track=given.track)
    if predictions is not None:
        _write_predictions(predictions, kind, lines, found)
    figures = found.figures()
    figures["worst"] = [
        {kind.one: lines[i].name, "right": found.right[i], "given": found.answers[i].text} for i in found.worst()
    ]
    figures["mistakes"] = [{"right": a, "given": b, "times": n} for a, b, n in found.mistakes()]
    return Tables(list(_tables(found, lines, kind)), figures, list(_told(found, kind)))


def _told(found: Evaluation, kind: Input) -> Iterator[str]:
    of_characters, of_words = sum(found.characters, Errors()), sum(found.words, Errors())
    yield (
        f"CER {_percent(of_characters.rate)} ({of_characters.edits:,} edits on {of_characters.count:,} characters), "
        f"WER {_percent(of_words.rate)} ({of_words.edits:,} on {of_words.count:,} words), {len(found.right):,} "
        f"{kind.many}"
    )
    yield "texts are compared in NFC with single spaces; capitals, punctuation and spaces count"
    if found.unknown:
        names = ", ".join(f"{character!r} {count}" for character, count in found.unknown.most_common(NAMED))
        yield f"{found.unknown.total():,} characters cannot be written, since training had none of them: {names}"
    if found.known:
        yield f"{len(found.known):,} of the {kind.many} are in the training part too"
    yield f"{len(found.right) / max(found.seconds, 1e-9):,.1f} {kind.many} a second"


def _tables(found: Evaluation, lines: Sequence[Series], kind: Input) -> Iterator[Table]:
    if mistakes := found.mistakes():
        rows = [(_shown(right), _shown(given), f"{count:,}") for right, given, count in mistakes]
        yield Table(("right", "given", "times"), rows, title="the commonest mistakes")
    if worst := found.worst():
        rows = [
            (lines[i].name or lines[i].place, _percent(found.characters[i].rate), found.right[i], found.answers[i].text)
            for i in worst
        ]
        yield Table((kind.one, "CER", "right", "given"), rows, title="the worst lines")


def _shown(character: str) -> str:
    return {"": "nothing", " ": "space"}.get(character, character)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _write_predictions(file: Path, kind: Input, lines: Sequence[Series], found: Evaluation) -> None:
    """Edits, right text, given text and name of each line."""
    with appears_whole(file) as out:
        out.write(f"edits\ttext\tgiven\t{kind.one}\n".encode())
        for line, right, answer, errors in zip(lines, found.right, found.answers, found.characters, strict=True):
            name = " ".join((line.name or line.place).split())
            out.write(f"{errors.edits}\t{right}\t{answer.text}\t{name}\n".encode())
