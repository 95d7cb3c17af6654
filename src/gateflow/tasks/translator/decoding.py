"""From a memory of sources to the numbers of their translations, token by token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gateflow.tasks.translator.batches import TranslationBatch
from gateflow.tasks.translator.model import TranslatorModel

__all__ = ["Found", "greedy"]


@dataclass(frozen=True)
class Found:
    """One translation.

    Attributes:
        numbers: of its tokens, without the end.
        log_probability: of all of them and the end.
        weights: ``[T, S]``, what attention looked at for each token; none without attention.
        ended: whether it came to its end; else it was cut.
    """

    numbers: list[int]
    log_probability: float
    weights: Tensor | None
    ended: bool


@torch.inference_mode()
def greedy(model: TranslatorModel, batch: TranslationBatch, end: int, most: int) -> list[Found]:
    """The likeliest token at each step, until the end or `most` tokens."""
    memory = model.encode(batch.source, batch.source_lengths)
    state, rows = model.decoder.start(memory), len(batch.source_lengths)
    tokens = torch.full((rows,), end, device=batch.source.device)
    numbers, logs, weights = list[Tensor](), torch.zeros(rows, device=tokens.device), list[Tensor]()
    open_ = torch.ones(rows, dtype=torch.bool, device=tokens.device)
    for _ in range(most + 1):
        found = model.decode(tokens[None], memory, state)
        best, tokens = model.log_probabilities(found, batch.copies, batch.extra)[0].max(-1)
        logs += best.masked_fill(~open_, 0.0)
        numbers.append(tokens.masked_fill(~open_, end))
        if found.weights is not None:
            weights.append(found.weights[0])
        state, open_ = found.state, open_ & (tokens != end)
        if not open_.any():
            break
    steps = torch.stack(numbers)
    looked = torch.stack(weights) if weights else None
    return [
        _found(steps[:, b].tolist(), float(logs[b]), None if looked is None else looked[:, b], end, most)
        for b in range(rows)
    ]


def _found(numbers: list[int], log_probability: float, weights: Tensor | None, end: int, most: int) -> Found:
    ended = end in numbers
    kept = numbers[: numbers.index(end)] if ended else numbers[:most]
    return Found(kept, log_probability, None if weights is None else weights[: len(kept) + ended], ended)
