"""The forms in which sequences come (padded, packed, batch first) and the one in which layers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gateflow.errors import ShapeError
from gateflow.layers.episodes import checked_resets

__all__ = ["Padded", "from_packed", "from_padded"]


@dataclass(frozen=True)
class Padded:
    """Sequences as layers see them.

    Attributes:
        data: `[T, B, F]`, zero where a row has ended.
        lengths: `[B]` on the device of `data`; none if every row is `T` long.
        packed: the packed sequence that this was, whose order `restore` follows.
        places: where its lines lie among the `T · B` rows of `data`.
        batch_first: whether `restore` puts the batch first.
    """

    data: Tensor
    lengths: Tensor | None
    packed: PackedSequence | None = None
    places: Tensor | None = None
    batch_first: bool = False

    def resets(self, given: Tensor | None) -> Tensor | None:
        """Where new episodes begin, `[T, B]`, from the form in which the input came.

        Raises:
            ShapeError: not one truth value per step and sequence, or a packed input, whose steps have no such places.
        """
        if given is None:
            return None
        if self.packed is not None:
            raise ShapeError("a PackedSequence takes no resets: give padded sequences with `lengths`")
        return checked_resets(given, self.data, batch_first=self.batch_first)

    def restore(self, y: Tensor) -> Tensor | PackedSequence:
        """An output `[T, B, F]` in the form in which the input came, zero where a row has ended."""
        if self.packed is not None and self.places is not None:
            return self.packed._replace(data=y.flatten(0, 1).index_select(0, self.places))
        y = _blank_padding(y, self.lengths)
        return y.transpose(0, 1) if self.batch_first else y


def from_padded(x: Tensor, lengths: Tensor | Sequence[int] | None, batch_first: bool) -> Padded:
    """Takes `[T, B, F]` (or `[B, T, F]`) and lengths on any device, in any order, zero allowed.

    Raises:
        ShapeError: `lengths` is not one integer from 0 to `T` per row (values are checked on the CPU only, so that
            lengths on a GPU cost no synchronisation).
    """
    data = x.transpose(0, 1) if batch_first else x
    if data.shape[0] < 1:
        raise ShapeError(f"sequences must have at least one step, found an input of shape {list(x.shape)}")
    if lengths is None:
        return Padded(data, None, batch_first=batch_first)
    rows = _checked_lengths(lengths, data)
    return Padded(_blank_padding(data, rows), rows, batch_first=batch_first)


def from_packed(packed: PackedSequence) -> Padded:
    """Takes a packed sequence, sorted or not."""
    counts, lines = packed.batch_sizes, packed.data
    T, B = len(counts), int(counts[0])
    valid = torch.arange(B) < counts[:, None]  # rows sorted by falling length: those of a step are its first
    order = torch.arange(B) if packed.sorted_indices is None else packed.sorted_indices.cpu()
    step, row = valid.nonzero(as_tuple=True)
    places = (step * B + order[row]).to(lines.device)
    data = lines.new_zeros(T * B, *lines.shape[1:]).index_copy_(0, places, lines).unflatten(0, (T, B))
    lengths = torch.empty(B, dtype=torch.int64).index_copy_(0, order, valid.sum(0))
    return Padded(data, None if bool(valid.all()) else lengths.to(data.device), packed=packed, places=places)


def _checked_lengths(lengths: Tensor | Sequence[int], data: Tensor) -> Tensor | None:
    T, B = data.shape[:2]
    rows = torch.as_tensor(lengths)
    if rows.shape != (B,) or rows.is_floating_point() or rows.dtype == torch.bool:
        raise ShapeError(f"lengths must be {B} integers, one per row, found shape {list(rows.shape)} of {rows.dtype}")
    if rows.device.type == "cpu":
        if B and not (int(rows.min()) >= 0 and int(rows.max()) <= T):
            raise ShapeError(f"lengths must lie between 0 and T = {T}, found {int(rows.min())} to {int(rows.max())}")
        if bool((rows == T).all()):
            return None
    return rows.to(data.device, torch.int64)


def _blank_padding(data: Tensor, lengths: Tensor | None) -> Tensor:
    """Zeros where a row has ended, whatever stood there: NaN in the padding must not reach a gradient."""
    if lengths is None:
        return data
    valid = torch.arange(data.shape[0], device=data.device)[:, None] < lengths
    return torch.where(valid[:, :, None], data, 0.0)
