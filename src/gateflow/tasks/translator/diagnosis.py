"""The gradient flow of a translator: how far back its encoder and its decoder learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.data.parallel import ParallelText, two_files
from gateflow.flow import ContingencyTable, Report
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import diagnose_with_history, horizon_of, report_without_recurrence, with_inputs
from gateflow.tasks.translator.batches import TranslationBatch
from gateflow.tasks.translator.data import own_pairs, read_pairs
from gateflow.tasks.translator.encoding import EncodedPairs, source_tokens, target_tokens_read
from gateflow.tasks.translator.loading import load_model, load_vocabularies, most_tokens
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.prediction import predict
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.search import Search
from gateflow.tasks.translator.tokens import Vocabularies
from gateflow.tasks.translator.ways import ways

__all__ = ["compared", "diagnose_run"]

# Pairs in a report, the longest that are not longer than this: reach is a matrix of tokens by tokens.
REPORTED, LONGEST = 8, 200
# Characters of a source whose attention is drawn, about.
READABLE = 30
_READING = """Each row is a token of one translation, each column a token of its source, and a cell the weight that this
had when the row's token was chosen; the weights of a row sum to one. Colours grow with the root of the weight."""


def diagnose_run(run: TranslatorRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a translator from reaching farther, on its validation pairs or on others.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no pairs.
        FlowError: a needed lag below 1.
    """
    vocabularies = load_vocabularies(run)
    model = load_model(run, vocabularies)
    pairs = own_pairs(run, "valid") if data is None else read_pairs(*two_files(data, None), run.config().data)
    encoded = reported(model, vocabularies, pairs)
    batch = encoded.batch(range(len(encoded.pairs)))
    tokens = {"encoder": source_tokens(encoded, 0), "decoder": target_tokens_read(encoded, 0)}
    found = ways(model, batch)
    if model.is_recurrent:
        report = diagnose_with_history(run, model, batch, _loss, needed_lag=needed_lag, tokens=tokens)
        report = with_inputs(report, found.inputs, *found.by_way)
    else:
        with torch.no_grad():
            loss = float(_loss(model, batch))
        more: dict[str, Any] = {"units": model.encoder.output_size, "among": len(batch.labels)}
        report = report_without_recurrence(run, model, found.inputs, loss, needed_lag=needed_lag, **more)
    if not model.attends:
        return report
    return replace(report, tables=(attention_table(model, vocabularies, telling(pairs), most_tokens(run)),))


def compared(run: TranslatorRun, model: TranslatorModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the longest validation pairs."""
    encoded = reported(model, load_vocabularies(run), own_pairs(run, "valid"))
    batch = encoded.batch(range(len(encoded.pairs)))
    parameters = sum(weight.numel() for layers in model.layers for weight in layers.parameters())
    longest = max(len(batch.source), len(batch.labels)) - 1
    return Compared(parameters, horizon_of(model, batch.to(model.device), _loss), longest, "token")


def reported(model: TranslatorModel, vocabularies: Vocabularies, pairs: Sequence[ParallelText]) -> EncodedPairs:
    """The longest pairs that are not too long; the shortest where all are."""
    lengths = [max(found) for found in EncodedPairs(vocabularies, pairs).lengths]
    fitting = [i for i in range(len(pairs)) if lengths[i] <= LONGEST]
    chosen = sorted(fitting, key=lambda i: -lengths[i])[:REPORTED]
    chosen = chosen or [min(range(len(pairs)), key=lengths.__getitem__)]
    return EncodedPairs(vocabularies, [pairs[i] for i in chosen], copying=model.pointer is not None)


def telling(pairs: Sequence[ParallelText]) -> ParallelText:
    """A pair that a reader takes in at a glance."""
    return min(pairs, key=lambda pair: abs(len(pair.source) - READABLE))


def attention_table(
    model: TranslatorModel, vocabularies: Vocabularies, pair: ParallelText, most: int
) -> ContingencyTable:
    """What each token of a translation looks at, in thousandths of its weights."""
    (answer,) = predict(model, vocabularies, [pair], Search(most))
    weights = answer.best.weights
    assert weights is not None, "asked for where there is attention"
    counts = [[round(1000 * weight) for weight in row] for row in weights.tolist()]
    rows = [*vocabularies.target.shown(answer.best.tokens), "<end>"]
    return ContingencyTable("What attention looks at", _READING, ("target", "source"), rows, answer.source, counts)


def _loss(model: nn.Module, batch: TranslationBatch) -> Tensor:
    return model(batch).nats / batch.target_lengths.sum()
