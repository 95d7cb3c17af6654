"""Text from a language model, one token at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gateflow.errors import ConfigError, NonFiniteError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.language_model.model import LanguageModel, State

# Tokens of a prompt that are read at once: the state carries on, so that more change nothing but the memory they take.
WINDOW = 512


def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[int]:
    """Yield ``length`` tokens that continue a prompt, each drawn from what the model expects after all before it.

    Args:
        model: Left in the mode (train or eval) it was in; it generates in eval mode.
        prompt_ids: At least one token, as :func:`gateflow.data.tokenizer.encode_prompt` gives them.
        length: How many tokens to draw.
        temperature: Scores are divided by it: below 1 is bolder, 0 always takes the likeliest token.
        top_k: Draw from this many likeliest tokens only.
        top_p: Draw from the fewest tokens that hold this share of the probability (Holtzman et al. 2020,
            arXiv:1904.09751).
        seed: The same seed gives the same text. Default: a fresh one.

    Raises:
        ConfigError: A number out of its range, or an empty prompt.
        NonFiniteError: The model's scores hold NaN or infinity.

    Example:
        >>> model = LanguageModel(7, embedding_size=4, hidden_size=4, num_layers=1)
        >>> once = list(generate(model, [0, 3], length=5, top_k=3, seed=1))
        >>> len(once), once == list(generate(model, [0, 3], length=5, top_k=3, seed=1))
        (5, True)
    """
    _check(len(prompt_ids), length, temperature, top_k, top_p)
    if seed is not None and not -(2**63) <= seed < 2**64:  # what torch's generators take
        raise ConfigError(f"seed must be at least -2^63 and below 2^64, not {seed}.")
    return _generate(model, prompt_ids, length, temperature, top_k, top_p, seed)


def _generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
) -> Iterator[int]:
    device = model.embedding.weight.device
    # One of its own: the text depends on the seed, and not on what else draws in the process.
    generator = torch.Generator(device)
    generator.seed() if seed is None else generator.manual_seed(seed)
    state = _read(model, prompt_ids[:-1])
    token = prompt_ids[-1]
    # The mode is set for each token, not around the loop: between two `yield`s the caller may train the model.
    for _ in range(length):
        with evaluating(model), torch.inference_mode():
            logits, state = model.next_logits(torch.tensor([token], device=device), state)
        token = draw(logits[0], temperature, top_k, top_p, generator)
        yield token


def _read(model: LanguageModel, token_ids: Sequence[int]) -> State | None:
    """The state behind some tokens, read by windows: a call for each token takes minutes of a long text."""
    state, device = None, model.embedding.weight.device
    for begin in range(0, len(token_ids), WINDOW):
        tokens = torch.tensor(token_ids[begin : begin + WINDOW], device=device)[:, None]
        with evaluating(model), torch.inference_mode():
            _, state = model.hidden(tokens, state)
    return state


def draw(logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator) -> int:
    """Draw one token from scores ``[V]``: temperature first, then the likeliest ``top_k``, of these ``top_p``.

    Example:
        >>> draw(torch.tensor([0.0, 9.0, 8.9]), 1.0, top_k=1, top_p=None, generator=torch.Generator())
        1
    """
    if not torch.isfinite(logits).all():
        raise NonFiniteError(
            "The model's scores hold NaN or infinity, so no token can be drawn: its weights are damaged."
        )
    # The limit of ever smaller temperatures, which cannot be divided by.
    if temperature == 0:
        return int(logits.argmax())
    likeliest, tokens = logits.double().div(temperature).topk(min(top_k or len(logits), len(logits)))
    shares = likeliest.softmax(0)
    if top_p is not None:
        # Before each word, not after it: the likeliest one always stays.
        shares[shares.cumsum(0) - shares >= top_p] = 0
    return int(tokens[torch.multinomial(shares, 1, generator=generator)])


def _check(prompt: int, length: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    if prompt < 1:
        raise ConfigError("prompt_ids is empty: an empty prompt is the end of the line before it (encode_prompt).")
    if length < 0:
        raise ConfigError(f"length must be 0 or more, not {length}.")
    if not 0 <= temperature < float("inf"):
        raise ConfigError(f"temperature must be 0 or more, not {temperature}.")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k must be at least 1, not {top_k}.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ConfigError(f"top_p must be above 0 and at most 1, not {top_p}.")
