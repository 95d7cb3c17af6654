"""The gradient flow of a transcriber: how far back in a line the gradient of its text reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gateflow.data.series import Series
from gateflow.flow import Excerpt, Excerpts, Report
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import confusion_table, diagnose_with_history, horizon_of, judged
from gateflow.tasks.score import Confusion
from gateflow.tasks.transcriber.batches import Batch, Encoded
from gateflow.tasks.transcriber.data import own_lines, read_with_texts, unwritable
from gateflow.tasks.transcriber.evaluation import Evaluation, measured
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load, load_alphabet, load_encoder
from gateflow.tasks.transcriber.model import TranscriberModel
from gateflow.tasks.transcriber.prediction import predict
from gateflow.tasks.transcriber.run import TranscriberRun

__all__ = ["compared", "diagnose_run"]

# Lines in a report, and steps of them that the layers read: reach is a matrix of steps by steps.
REPORTED, LONGEST = 8, 1000


def diagnose_run(run: TranscriberRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a transcriber from reaching farther, on its validation part or on other lines.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no lines with texts.
        FlowError: a needed lag below 1.
    """
    learnt, config = load(run), run.config()
    if data is None:
        lines = own_lines(run, "valid")
    else:
        lines = [learnt.encoder.fitting(x) for x in read_with_texts(data, config, skip_bad=config.data.skip_bad)]
    chosen = reported(learnt, config, lines)
    report = diagnose_with_history(run, learnt.model, encoded(learnt, chosen), _loss, needed_lag=needed_lag)
    told = judged(lines)
    found = measured(learnt.alphabet, told, list(predict(learnt, told)), [])
    what = f"the characters of {len(told):,} {input_of(config).many}"
    tables = (confusion_table(confusion_of(found.taken), what),)
    return replace(report, tables=tables, excerpts=(worst_lines(found, told),) if found.worst() else ())


def compared(run: TranscriberRun, model: TranscriberModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the longest validation lines."""
    learnt = Learnt(model, load_encoder(run), load_alphabet(run))
    chosen = reported(learnt, run.config(), own_lines(run, "valid"))
    batch = encoded(learnt, chosen).to(model.head.weight.device)
    parameters = sum(weight.numel() for weight in model.recurrent.parameters())
    longest = int(model.lengths(batch.lengths).max()) - 1
    return Compared(parameters, horizon_of(model, batch, _loss), longest, "character")


def reported(learnt: Learnt, config: Any, lines: Sequence[Series]) -> list[Series]:
    """The longest lines whose loss can be followed back, the longest first."""
    wrong = unwritable(lines, config, learnt.alphabet)
    fitting = [x for i, x in enumerate(lines) if i not in wrong and len(x) <= LONGEST * config.reduction]
    return sorted(fitting or lines[:1], key=len, reverse=True)[:REPORTED]


def worst_lines(found: Evaluation, lines: Sequence[Series]) -> Excerpts:
    """The lines with the highest share of errors, with their pictures if they are some."""
    items = [
        Excerpt(
            lines[i].name or lines[i].place,
            [
                ("right", found.right[i]),
                ("given", found.answers[i].text),
                ("CER", f"{100 * found.characters[i].rate:.2f} %"),
            ],
            _picture(lines[i]),
        )
        for i in found.worst()
    ]
    reading = f"Of {len(lines):,} lines those with the highest share of wrong characters."
    reading += " Pictures are as the network reads them, their ink dark." if any(x.picture for x in items) else ""
    return Excerpts("The worst lines", reading, items)


def encoded(learnt: Learnt, lines: Sequence[Series]) -> Batch:
    """Some lines as one batch."""
    return Encoded(learnt.encoder, lines, learnt.alphabet).batch(range(len(lines)))


def confusion_of(taken: Counter[tuple[str, str]]) -> Confusion:
    """Characters by what they were taken for; spaces and what is missing by their names."""
    names = {"": "nothing", " ": "space"}
    rows, columns = (sorted({pair[side] for pair in taken}, key=lambda x: (x == "", x)) for side in (0, 1))
    counts = tuple(tuple(taken[right, given] for given in columns) for right in rows)
    told, found = (tuple(names.get(x, x) for x in side) for side in (rows, columns))
    return Confusion(told, found, counts)


def _picture(line: Series) -> bytes:
    """A PNG file of the ink; nothing of lines that are no pictures."""
    if line.values.dtype != np.uint8:
        return b""
    # The run's lines are there without Pillow; only who has it sees them.
    try:
        from PIL import Image
    except ImportError:
        return b""
    with BytesIO() as file:
        Image.fromarray(255 - np.ascontiguousarray(line.values.T)).save(file, "PNG", optimize=True)
        return file.getvalue()


def _loss(model: Any, batch: Batch) -> Tensor:
    log_probs, lengths = model(batch)
    return model.losses(log_probs, lengths, batch) / len(batch.lengths)
