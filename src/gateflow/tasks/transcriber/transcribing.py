"""The verb ``transcribe``: the text of each line, as it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateflow.data.lines import blocks_of
from gateflow.data.source import STDIN
from gateflow.errors import ConfigError
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.transcriber import BATCH_SIZE
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load
from gateflow.tasks.transcriber.prediction import CHUNK, Answer, Decoding, predict
from gateflow.tasks.transcriber.search import LM_WEIGHT, decoding_of
from gateflow.tasks.transcriber.streaming import stream_lines

__all__ = ["answer_as_data", "transcribe_lines"]


def transcribe_lines(
    given: Given,
    data: Path,
    beam: int | None,
    lm: Path | None,
    lm_weight: float,
    insertion: float,
    nbest: int,
    stream: bool,
    skip_bad: bool,
    batch_size: int,
) -> Lines:
    """What the transcriber reads in each line.

    Raises:
        RunError, NonFiniteError: the run's model, or that of the language model, cannot be used.
        DataError: the data are missing, or are not what the run has learnt from.
        ConfigError: the run cannot read a stream, or several texts are asked of the best path.
    """
    learnt, config = load(given.run), given.run.config()
    if stream:
        searching = beam or lm or lm_weight != LM_WEIGHT or nbest > 1 or insertion
        if searching or skip_bad or batch_size != BATCH_SIZE.default:
            raise ConfigError("--stream writes the best path of one sound; leave all options but --data out.")
        return Lines(stream_lines(learnt, config, data))
    if data == STDIN and config.kind != "strokes":
        raise ConfigError("--data - is for samples that are piped in, which --stream reads; name a file or a folder.")
    decoding = decoding_of(learnt.alphabet, beam, nbest, lm, lm_weight, insertion)
    return Lines(_answers(learnt, config, data, decoding, skip_bad=skip_bad, batch_size=batch_size))


def _answers(
    learnt: Learnt, config: TranscriberConfig, data: Path, decoding: Decoding, *, skip_bad: bool, batch_size: int
) -> Iterator[tuple[str, Any]]:
    kind = input_of(config)
    lines = (learnt.encoder.fitting(line) for line in kind.read(data, config, skip_bad=skip_bad))
    # Read block by block: a folder may hold more pictures than memory does.
    for block in blocks_of(lines, CHUNK):
        answers = predict(learnt, block, batch_size=batch_size, decoding=decoding)
        for line, answer in zip(block, answers, strict=True):
            texts = (answer, *answer.others)
            shown = [f"{line.name}\t{x.text}" + (f"\t{x.score:.3f}" if decoding.nbest > 1 else "") for x in texts]
            found = {kind.one: line.name, **answer_as_data(answer, kind.unit)}
            if decoding.nbest > 1:
                found["others"] = [answer_as_data(x, kind.unit) for x in answer.others]
            yield "\n".join(shown), found


def answer_as_data(answer: Answer, unit: str) -> dict[str, Any]:
    """Text, score, and of each character its place and confidence."""
    characters = [
        {"text": x.text, "begin": round(x.begin, 4), "end": round(x.end, 4), "confidence": round(x.confidence, 4)}
        for x in answer.characters
    ]
    return {"text": answer.text, "score": answer.score, "unit": unit, "characters": characters}
