"""What a language model costs per new token, and is worth, as the text before it grows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.data.stream import IGNORED, TokenStream
from gateflow.layers import Recurrent
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Growth
from gateflow.tasks.growth import CONTEXTS, step_cost
from gateflow.tasks.language_model.model import LanguageModel, perplexity
from gateflow.tasks.language_model.run import LanguageModelRun

__all__ = ["growth", "loss_by_position"]

# A stretch is so many times as long as what a layer looks back to in training; and tokens that are read at most.
FOLD, MOST = 4, 1 << 17


def growth(run: LanguageModelRun, model: LanguageModel) -> Growth:
    """What a comparison is told: the cost of a token behind many, and perplexity beyond what training looks back to.

    A layer of a Transformer looks back at `context` tokens in training, whatever its windows; here at all of a stretch,
    so that every prediction from more of them is one that it was never trained for. A recurrent model carries its state
    on, and is measured at the same places. Each stretch of the validation text begins with an empty state.
    """
    config = run.config()
    trained = config.model.context
    within, beyond = None, None
    if (found := loss_by_position(model, run, FOLD * trained, config.training.batch_size)) is not None:
        nats, counts = found
        first, later = slice(trained), slice(trained, None)
        within, beyond = (perplexity(float(nats[part].sum()), int(counts[part].sum())) for part in (first, later))
    with _looking_back_at_all(model), evaluating(model), torch.inference_mode(), model.layers.streaming():
        steps = tuple(_cost(model, length) for length in CONTEXTS)
    return Growth(steps, trained, within, beyond, "perplexity")


@torch.no_grad()
def loss_by_position(
    model: LanguageModel, run: LanguageModelRun, length: int, rows: int
) -> tuple[Tensor, Tensor] | None:
    """Summed nats and counts ``[length]`` by the place in a stretch of the validation text; none if it is shorter."""
    stream = TokenStream(run.tokens_file("valid"), 1, length)
    stretches = [pair for pair in stream.windows() if len(pair[0]) == length and bool((pair[1] != IGNORED).all())]
    stretches = stretches[: max(1, MOST // length)]
    if not stretches:
        return None
    nats, device = torch.zeros(length, dtype=torch.float64), model.bias.device
    with _looking_back_at_all(model), evaluating(model):
        for begin in range(0, len(stretches), rows):
            parts = zip(*stretches[begin : begin + rows], strict=True)
            inputs, targets = (torch.cat(part, 1).to(device) for part in parts)
            hidden, _ = model.hidden(inputs)
            # A step at a time: the scores of all steps are larger than the model.
            for t, wanted in enumerate(targets):
                nats[t] += float(F.cross_entropy(model.scores(hidden[t]), wanted, reduction="sum"))
    return nats, torch.full((length,), len(stretches))


@contextlib.contextmanager
def _looking_back_at_all(model: LanguageModel) -> Iterator[None]:
    """Within the block a Transformer has no shorter context than all there is."""
    layers: Any = model.layers
    if isinstance(layers, Recurrent):
        yield
        return
    context, layers.context = layers.context, None
    try:
        yield
    finally:
        layers.context = context


def _cost(model: LanguageModel, length: int) -> Any:
    tokens = torch.arange(length, device=model.bias.device).remainder(len(model.bias))[:, None]
    _, state = model.hidden(tokens)
    return step_cost(length, lambda: model.next_logits(tokens[-1], state), state)
