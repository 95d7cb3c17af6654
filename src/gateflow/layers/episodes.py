"""Sequences in which new episodes begin: each episode becomes a row of its own, so that every path runs them.

row 0   a a a|b b            row 0   a a a
row 1   c|d d d d     →      row 1   b b
                             row 2   c
                             row 3   d d d d
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.errors import ShapeError

__all__ = ["Episodes", "checked_resets"]

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Episodes:
    """Where the episodes of some sequences lie.

    Attributes:
        row, begin: of each episode the sequence and the step at which it begins, `[R]`; those of a sequence follow each
            other, and each sequence has one at least.
        lengths: `[R]`, how long they are.
        of: which episode each step of each sequence is in, `[T, B]`.
        fresh: which episodes begin from the initial state, and not from the one that was given, `[R]`.
        first, last: the first and the last episode of each sequence, `[B]`.
    """

    row: Tensor
    begin: Tensor
    lengths: Tensor
    of: Tensor
    fresh: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of_resets(cls, resets: Tensor, lengths: Tensor | None) -> Episodes:
        """The episodes of sequences in which new ones begin where `resets [T, B]` is true."""
        T, B = resets.shape
        ends = torch.full((B,), T, device=resets.device) if lengths is None else lengths
        t = torch.arange(T, device=resets.device)
        # A reset in the padding begins nothing.
        resets = resets & (t[:, None] < ends)
        # The first step begins an episode whether it says so or not; only `fresh` tells the two apart.
        begins = resets | (t == 0)[:, None]
        # Transposed: the episodes of a sequence follow each other.
        row, begin = begins.t().nonzero(as_tuple=True)
        last = begins.sum(0).cumsum(0) - 1
        of = begins.t().flatten().cumsum(0).view(B, T).t() - 1
        # An episode ends where the next one begins; the last of each sequence where that ends.
        end = torch.cat([begin[1:], begin[:1]]).index_copy(0, last, ends)
        first = torch.cat([last.new_zeros(1), last[:-1] + 1])
        return cls(row, begin, end - begin, of, resets[begin, row], first, last)

    def split(self, x: Tensor) -> Tensor:
        """`[T, B, F]` as one row per episode, `[longest, R, F]`, zero where an episode has ended."""
        longest = int(self.lengths.max()) if len(self.lengths) else 1  # a batch may be empty
        step = torch.arange(max(longest, 1), device=x.device)[:, None]
        t = (self.begin + step).clamp(max=x.shape[0] - 1)
        # `where` and no product: NaN times zero is NaN.
        return torch.where((step < self.lengths)[:, :, None], x[t, self.row], 0.0)

    def joined(self, y: Tensor) -> Tensor:
        """What came out of the episodes, as sequences again."""
        t = torch.arange(self.of.shape[0], device=y.device)[:, None] - self.begin[self.of]
        return y[t.clamp(max=y.shape[0] - 1), self.of]

    def starts(self, given: Sequence[State], initial: Sequence[State], directions: int) -> list[State]:
        """The states before the first steps of the episodes: what was given where a sequence itself begins.

        A reverse direction begins with the last episode of a sequence, whatever stands at its first step.
        """
        inside = torch.ones_like(self.fresh).index_fill(0, self.last, False)
        starts: list[State] = []
        for k, (parts, new) in enumerate(zip(given, initial, strict=True)):
            begins = (inside if k % directions else self.fresh)[:, None]
            starts.append(tuple(torch.where(begins, n, g[self.row]) for g, n in zip(parts, new, strict=True)))
        return starts

    def finals(self, states: Sequence[State], directions: int) -> list[State]:
        """The states after the last steps of the sequences; those of a reverse direction are of the first episodes."""
        ends = (self.last, self.first)
        return [tuple(part[ends[k % directions]] for part in parts) for k, parts in enumerate(states)]


def checked_resets(resets: Any, sizes: tuple[int, ...], form: str, device: torch.device) -> Tensor:
    """Truth values of the sizes that `form` names, on a device, from whatever torch makes a tensor of.

    Raises:
        ShapeError: not one truth value for each.
    """
    try:
        found = torch.as_tensor(resets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"resets must be truth values {form}, found {type(resets).__name__}: {error}") from error
    if tuple(found.shape) != sizes or found.dtype != torch.bool:
        raise ShapeError(
            f"resets must be truth values {form} = {list(sizes)}, true where a new episode begins; found "
            f"{list(found.shape)} of {found.dtype}"
        )
    return found.to(device)
