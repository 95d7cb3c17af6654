"""What a translator costs per new token, and is worth, as targets grow."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gateflow.data.parallel import ParallelText
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Growth, StepCost
from gateflow.tasks.growth import CONTEXTS, step_cost
from gateflow.tasks.translator.data import own_pairs
from gateflow.tasks.translator.encoding import EncodedPairs
from gateflow.tasks.translator.evaluation import evaluate
from gateflow.tasks.translator.loading import load_vocabularies, longest_target, most_tokens
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.search import Search

__all__ = ["growth"]

# Tokens of the source that is read while a step is timed.
SOURCE = 32


def growth(run: TranslatorRun, model: TranslatorModel) -> Growth:
    """What a comparison is told: the cost of a token behind many, and edits per token of targets longer than learnt.

    There are none longer in most data; a split by length, such as SCAN's, has them.
    """
    vocabularies, trained, valid = load_vocabularies(run), longest_target(run), own_pairs(run, "valid")
    lengths = [target for _, target in EncodedPairs(vocabularies, valid).lengths]

    def error_rate(pairs: Sequence[ParallelText]) -> float | None:
        search = Search(most_tokens(run))
        return evaluate(model, vocabularies, pairs, search).measures.figures()["error_rate"] if pairs else None

    within, beyond = (
        error_rate([pair for pair, length in zip(valid, lengths, strict=True) if (length > trained) == longer])
        for longer in (False, True)
    )
    with evaluating(model), torch.inference_mode():
        steps = tuple(_cost(model, length) for length in CONTEXTS)
    return Growth(steps, trained, within, beyond, "edits per token")


def _cost(model: TranslatorModel, length: int) -> StepCost:
    device = model.device
    source = torch.arange(SOURCE, device=device).remainder(model.source_vectors.num_embeddings)[:, None]
    tokens = torch.arange(length, device=device).remainder(model.target_size)[:, None]
    state = model.decode(tokens, model.start(source, torch.tensor([SOURCE], device=device))).state
    # With its scores, as a search asks for them: of a large vocabulary they are most of a step.
    copies = torch.zeros_like(source)
    return step_cost(length, lambda: model.step(tokens[-1], state, copies, 1), state)
