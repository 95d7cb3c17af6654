"""The gradient flow of a language model, on its validation text or another."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.data.stream import IGNORED, TokenStream, token_file
from gateflow.data.tokens import encode_file
from gateflow.errors import DataError
from gateflow.flow import LayerReach, Report, input_reach
from gateflow.layers import Recurrent
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import diagnose_with_history, horizon_of, report_without_recurrence, with_inputs
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun

# Rows of the batch, and its fewest and most steps: reach is a matrix of steps by steps for each layer.
ROWS, SHORTEST, LONGEST = 8, 64, 512


def diagnose_run(run: LanguageModelRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a run from reaching farther, its window and the course of its training included.

    The text is read in stretches longer than the window, each from an empty state and without truncation: so it shows
    what would arrive from beyond the window.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the text is missing, is none, or is too short.
        FlowError: a needed lag below 1.
    """
    model, tokenizer, window = load_model(run), load_tokenizer(run), run.config().training.window
    batch = _batch(run, tokenizer, data, looking_back(max(window, needed_lag or 0)))
    tokens, inputs = [spelled(tokenizer, token) for token in batch[0][:, 0].tolist()], reach_to_inputs(model, batch)
    same: dict[str, Any] = {"needed_lag": needed_lag, "window": window, "tokens": tokens}
    if not isinstance(model.layers, Recurrent):
        with torch.no_grad():
            loss = float(_loss(model, batch))
        more: dict[str, Any] = {"units": model.layers.output_size, "among": len(batch[0])}
        return report_without_recurrence(run, model, inputs, loss, **more, **same)
    return with_inputs(diagnose_with_history(run, model, batch, _loss, **same), inputs)


def reach_to_inputs(model: LanguageModel, batch: tuple[Tensor, Tensor]) -> LayerReach:
    """How much of the gradient of the loss of a step arrives at the vectors of the tokens before it.

    Raises:
        FlowError: none arrives.
    """
    inputs, targets = batch
    with evaluating(model), torch.enable_grad():
        vectors = model.embedding(inputs).detach().requires_grad_()
        hidden, _ = model.read(vectors)
        steps = torch.arange(len(inputs), device=inputs.device)[:, None]
        at = torch.where(targets != IGNORED, steps, -1)
        return input_reach(
            lambda t: F.cross_entropy(model.scores(hidden[t]), targets[t], reduction="none"), vectors, at
        )


def compared(run: LanguageModelRun, model: LanguageModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the validation text."""
    tokens, window = run.tokens_file("valid"), run.config().training.window
    longest = len(stretches(tokens, looking_back(window))[0]) - 1
    parameters = sum(weight.numel() for weight in model.layers.parameters())
    return Compared(parameters, horizon(model, tokens, window), longest, "step")


def horizon(model: LanguageModel, tokens: Path, window: int) -> int | None:
    """How many steps back the gradient reaches on an encoded text; None where nothing or too much arrives."""
    device = model.bias.device
    batch = tuple(part.to(device) for part in stretches(tokens, looking_back(window)))
    return horizon_of(model, batch, _loss)


def looking_back(steps: int) -> int:
    """How long the sequences should be in which so many steps are looked back.

    Example:
        >>> looking_back(10), looking_back(100), looking_back(1000)
        (64, 200, 512)
    """
    return min(LONGEST, max(SHORTEST, 2 * steps))


def stretches(tokens: Path, steps: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets `[steps, rows]` of an encoded text; fewer rows, then fewer steps, where it is short."""
    count = len(token_file(tokens))
    if count < 3:
        raise DataError(f"the text has {count} tokens; to look back takes at least 3. Give a longer one.")
    # Fewer rows before fewer steps: how far back can be seen matters more than how exactly.
    return next(TokenStream(tokens, max(1, min(ROWS, (count - 1) // steps)), steps).windows())


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return model(*batch)[0]


def _batch(run: LanguageModelRun, tokenizer: Tokenizer, text: Path | None, steps: int) -> tuple[Tensor, Tensor]:
    if text is None:
        tokens = run.unharmed(run.tokens_file("valid"), "give a text with --data")
        TokenStream(tokens, 1, steps).refuse_others_than(tokenizer.get_vocab_size())
        return stretches(tokens, steps)
    with TemporaryDirectory() as folder:
        tokens = Path(folder, "tokens.npy")
        encode_file(tokenizer, text, tokens)
        return stretches(tokens, steps)


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """A token as it is read, or as the tokenizer calls it if it is part of a character."""
    text = tokenizer.decode([token], skip_special_tokens=False)
    name = tokenizer.id_to_token(token) or str(token)
    # A token of byte-level BPE may be half a character.
    return (name if "\ufffd" in text or not text else text).replace("\n", "⏎").replace(" ", "␣")
