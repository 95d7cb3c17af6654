"""The arguments of a CRF: what does not fit is refused, in words, before any sum is begun."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gateflow.errors import ArgumentTypeError, ConfigError, NoSequenceError, ShapeError
from gateflow.layers.chain import IMPOSSIBLE, Chain

__all__ = [
    "checked_allowed",
    "checked_mask",
    "checked_number",
    "checked_tags",
    "refuse_impossible",
    "refuse_without_sequences",
]


def checked_number(given: Any, name: str) -> int:
    """A number of tags or sequences."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise ArgumentTypeError(f"{name} should be of type int, got: {type(given).__name__}, {given!r}")
    if given < 1:
        raise ConfigError(f"{name} must be at least 1, got {given}")
    return given


def checked_mask(given: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    """Truth values on the CPU, where they can be looked at, whatever device the layer is for; all true if not given."""
    if given is None:
        return torch.ones(shape, dtype=torch.bool, device="cpu")
    try:
        mask = torch.as_tensor(given, device="cpu")
        found = f"{mask.dtype} of shape {list(mask.shape)}"
    except (TypeError, ValueError, RuntimeError) as error:
        mask, found = None, str(error)
    # Numbers are refused: as truth values, penalties such as -10000 would all allow.
    if mask is None or mask.dtype != torch.bool or mask.shape != shape:
        raise ConfigError(f"{name} must be truth values of shape {list(shape)}, true for what may be, found {found}")
    return mask.clone()


def refuse_without_sequences(begin: Tensor, inner: Tensor, end: Tensor) -> None:
    """Raises for masks under which no sequence may be, of whatever length."""
    reached, before = begin, torch.zeros_like(begin)
    while not torch.equal(reached, before):
        reached, before = reached | (reached[:, None] & inner).any(0), reached
    if not bool((reached & end).any()):
        raise ConfigError(
            "begin, inner and end forbid every sequence: from no tag with which one may begin do allowed transitions "
            f"lead to one with which it may end; reached are tags {reached.nonzero().flatten().tolist()}, and ends "
            f"{end.nonzero().flatten().tolist()}"
        )


def checked_allowed(allowed: Tensor, scores: Tensor) -> Tensor:
    """One truth value for each score."""
    if allowed.dtype != torch.bool or allowed.shape != scores.shape:
        raise ShapeError(
            f"allowed must be truth values of the shape of scores, {list(scores.shape)}, found {allowed.dtype} of "
            f"shape {list(allowed.shape)}"
        )
    return allowed


def checked_tags(tags: Tensor, scores: Tensor, chain: Chain) -> Tensor:
    """Tags as indices, 0 beyond a row's length. Values are checked on the CPU; a GPU's own indexing refuses them."""
    if tags.shape != scores.shape[:2] or tags.is_floating_point() or tags.dtype == torch.bool:
        raise ShapeError(
            f"tags must be integers [T, B] = {list(scores.shape[:2])}, one for each step and row, found {tags.dtype} "
            f"of shape {list(tags.shape)}"
        )
    tags = tags.long() if len(tags) else chain.lengths[None]
    wrong = chain.valid & ((tags < 0) | (tags >= scores.shape[2]))
    if tags.device.type == "cpu" and bool(wrong.any()):
        step, row = wrong.nonzero()[0].tolist()
        raise ShapeError(
            f"tags must lie between 0 and K - 1 = {scores.shape[2] - 1}, found {int(tags[step, row])} at step {step} "
            f"of row {row}; what fills up shorter rows is not looked at if `lengths` are given"
        )
    return torch.where(chain.valid, tags, 0)


def refuse_impossible(chain: Chain, total: Tensor) -> None:
    """Raises for the first row without a sequence, whose total is that of what is forbidden, or no number."""
    there = (total > IMPOSSIBLE) & total.isfinite()
    if bool(there.all()):
        return
    row = int((~there).nonzero()[0])
    if not all(bool(part.isfinite().all()) for part in (chain.scores[:, row], *chain[1:4])):
        raise NoSequenceError(
            f"row {row} has no best sequence: its scores or the weights of the CRF hold NaN or infinity; look where "
            "they come from, for instance by `gateflow.flow.Monitor`"
        )
    raise NoSequenceError(
        f"row {row} has no sequence: begin, inner and end, or scores of -inf, forbid every one of its length, "
        f"{int(chain.lengths[row])}; allow more, or leave such rows out"
    )
