"""The verb ``translate``: a line for each line, as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of_lines
from gateflow.data.parallel import ParallelText, read_sources
from gateflow.errors import ConfigError
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.predictions import refuse_bad_output
from gateflow.tasks.translator.attention_page import write_attention
from gateflow.tasks.translator.ensemble import ensemble_of, runs_beside
from gateflow.tasks.translator.features import Features
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.prediction import CHUNK, Answer, Translation, predict
from gateflow.tasks.translator.search import refuse_without_attention, search_of
from gateflow.tasks.translator.tokens import Tokens

__all__ = ["translate_text"]

# Lines whose attention is drawn: as many as a reader looks through.
DRAWN = 50

Translated = tuple[ParallelText, Answer]


def translate_text(
    given: Given,
    data: Path,
    attention: Path | None,
    ensemble: str | None = None,
    **searching: Any,
) -> Lines:
    """The translations of each line; see `ensemble_of`, and `search_of` for the options of the search.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the data are missing, or no text.
        ConfigError: more translations than hypotheses are asked for, or attention of a run that has none; a
            run of the ensemble does not fit.
        WriteError: the file for attention cannot be written.
    """
    vocabularies = load_vocabularies(given.run)
    others = runs_beside(given.run, ensemble)
    for run in (given.run, *others):
        refuse_bad_output(attention, run, {"--data": data}, "--attention")
    model = ensemble_of(load_model(given.run, vocabularies), vocabularies, others)
    search = search_of(given.run, **searching)
    refuse_without_attention(search, model)
    if attention is not None and not model.attends:
        raise ConfigError("--attention of a translator that was trained with --attention none: it has none to show.")
    looked_at = Features(vocabularies).looked_at

    def answers() -> Iterator[Translated]:
        number = 1
        for lines in blocks_of_lines(data, CHUNK):
            sources = [*looked_at(read_sources(lines, number, vocabularies.features is not None))]
            yield from zip(sources, predict(model, vocabularies, sources, search), strict=True)
            number += len(lines)

    found = answers() if attention is None else _drawn(answers(), attention, vocabularies.target)
    nbest = search.nbest
    return Lines(((_shown(answer, nbest), _as_data(source, answer, nbest)) for source, answer in found), blank=True)


def _drawn(answers: Iterable[Translated], file: Path, targets: Tokens) -> Iterator[Translated]:
    """The answers; the attention of the first of them is written as soon as they are there."""
    held: list[Answer] = []
    for source, answer in answers:
        held.append(answer)
        yield source, answer
        if len(held) == DRAWN:
            write_attention(file, held, targets)
    if len(held) < DRAWN:
        write_attention(file, held, targets)


def _shown(answer: Answer, nbest: int) -> str:
    """The translation; or the best of them with their scores, a line each, and a blank line behind them."""
    if nbest == 1:
        return answer.best.text
    # There may be fewer than were asked for: the blank line says where those of the next source begin.
    return "".join(f"{k}\t{found.score:.4f}\t{found.text}\n" for k, found in enumerate(answer.translations, 1))


def _as_data(source: ParallelText, answer: Answer, nbest: int) -> dict[str, Any]:
    told: dict[str, Any] = {"line": source.line, "source": source.source}
    told |= {"features": source.features} if source.features else {}
    told |= _told(answer.best)
    return told | ({"nbest": [_told(found) for found in answer.translations]} if nbest > 1 else {})


def _told(found: Translation) -> dict[str, Any]:
    scores = {"log_probability": found.log_probability, "score": found.score}
    return {"translation": found.text, **scores, "ended": found.ended}
