"""The verb ``translate``: a line for each line, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of_lines
from gateflow.data.parallel import ParallelText, read_sources
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.translator.loading import load_model, load_vocabularies, most_tokens
from gateflow.tasks.translator.prediction import CHUNK, Answer, Search, predict

__all__ = ["translate_text"]


def translate_text(given: Given, data: Path, replace_unknown: bool, max_length: int | None, batch_size: int) -> Lines:
    """The translation of each line.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the data are missing, or no text.
    """
    vocabularies = load_vocabularies(given.run)
    model = load_model(given.run, vocabularies)
    search = Search(max_length or most_tokens(given.run), replace_unknown=replace_unknown, batch_size=batch_size)

    def answers() -> Iterator[tuple[str, Any]]:
        number = 1
        for lines in blocks_of_lines(data, CHUNK):
            sources = read_sources(lines, number, vocabularies.features is not None)
            for source, answer in zip(sources, predict(model, vocabularies, sources, search), strict=True):
                yield _shown(answer), _as_data(source, answer)
            number += len(lines)

    return Lines(answers(), blank=True)


def _shown(answer: Answer) -> str:
    return answer.best.text


def _as_data(source: ParallelText, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"line": source.line, "source": source.source}
    told |= {"features": source.features} if source.features else {}
    best = answer.best
    return told | {"translation": best.text, "log_probability": best.log_probability, "ended": best.ended}
