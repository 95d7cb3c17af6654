"""The verb ``transcribe``: the text of each line, as it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load
from gateflow.tasks.transcriber.prediction import CHUNK, Answer, predict

__all__ = ["answer_as_data", "transcribe_lines"]


def transcribe_lines(given: Given, data: Path, skip_bad: bool, batch_size: int) -> Lines:
    """What the transcriber reads in each line.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the data are missing, or are not what the run has learnt from.
    """
    learnt, config = load(given.run), given.run.config()
    return Lines(_answers(learnt, config, data, skip_bad, batch_size))


def _answers(learnt: Learnt, config: Any, data: Path, skip_bad: bool, batch_size: int) -> Iterator[tuple[str, Any]]:
    kind = input_of(config)
    lines = (learnt.encoder.fitting(line) for line in kind.read(data, config, skip_bad=skip_bad))
    # Read block by block: a folder may hold more pictures than memory does.
    for block in blocks_of(lines, CHUNK):
        for line, answer in zip(block, predict(learnt, block, batch_size=batch_size), strict=True):
            yield f"{line.name}\t{answer.text}", {kind.one: line.name, **answer_as_data(answer, kind.unit)}


def answer_as_data(answer: Answer, unit: str) -> dict[str, Any]:
    """Text, score, and of each character its place and confidence."""
    characters = [
        {"text": x.text, "begin": round(x.begin, 4), "end": round(x.end, 4), "confidence": round(x.confidence, 4)}
        for x in answer.characters
    ]
    return {"text": answer.text, "score": answer.score, "unit": unit, "characters": characters}
