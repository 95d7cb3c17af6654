"""The reference: a cell's own `step` in a Python loop. It is the definition that every faster path is judged by."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.cells import Cell

__all__ = ["filled", "reverse", "unroll"]

State = tuple[Tensor, ...]


def unroll(
    cell: Cell,
    x: Tensor,
    state: State,
    *,
    valid: Tensor | None = None,
    zoneout: tuple[Tensor | float, ...] | None = None,
) -> tuple[Tensor, State]:
    """Runs `cell.step` over time.

    Args:
        cell: the equations and their weights.
        x: input `[T, B, I]`.
        state: the state before the first step, one `[B, size]` per part.
        valid: `[T, B, 1]`, false where a row has ended: there the state stands still and the output is zero.
        zoneout: for each part of the state how much of the old value stays: masks `[T, B, size]`, or a number.

    Returns:
        The output `[T, B, size]` and the state after the last valid step of each row.
    """
    # Once: a gate cut out within a step would give each step a backward pass of the size of all weights.
    cell, outputs = cell.bind(), []
    for t, x_t in enumerate(x.unbind(0)):
        new = cell.advance(x_t, state)
        if zoneout is not None:
            new = tuple(_mix(n, old, _at(hold, t)) for n, old, hold in zip(new, state, zoneout, strict=True))
        if valid is None:
            outputs.append(new[0])
        else:
            # `where`, not a factor: beyond its end a row may hold NaN, and NaN · 0 is NaN.
            outputs.append(torch.where(valid[t], new[0], 0.0))
            new = tuple(torch.where(valid[t], n, old) for n, old in zip(new, state, strict=True))
        state = new
    return torch.stack(outputs), state


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turns `x [T, B, F]` around in time, each row inside its own length; its own inverse."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(x.shape[0], device=x.device)[:, None]
    # Padding stays where it is, which makes this its own inverse.
    source = torch.where(t < lengths, lengths - 1 - t, t)
    return x.gather(0, source[:, :, None].expand_as(x))


def filled(x: Tensor, lengths: Tensor) -> Tensor:
    """`x [T, B, F]` with the first step of the longest row, and not zeros, where a row has ended.

    What a step makes of it is seen by nobody. But one that divides by its input makes NaN of zeros, and a gradient of 0
    times NaN is NaN.

    Example:
        >>> filled(torch.tensor([1.0, 2.0, 3.0, 0.0]).view(2, 2, 1), torch.tensor([2, 1])).flatten()
        tensor([1., 2., 3., 1.])
    """
    if not lengths.numel():
        return x
    valid = torch.arange(x.shape[0], device=x.device)[:, None] < lengths
    # By `index_select`: an index that is a tensor of one number would be asked for that number.
    return torch.where(valid[:, :, None], x, x[0].index_select(0, lengths.argmax(0, keepdim=True)))


def _at(hold: Tensor | float, t: int) -> Tensor | float:
    return hold[t] if isinstance(hold, Tensor) else hold


def _mix(new: Tensor, old: Tensor, hold: Tensor | float) -> Tensor:
    """Exactly `old` where `hold` is 1, exactly `new` where it is 0."""
    return hold * old + (1 - hold) * new
