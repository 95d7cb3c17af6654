"""The forms in which sequences come (padded, packed, batch first) and the one in which layers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gateflow.errors import ShapeError
from gateflow.layers.episodes import checked_resets
from gateflow.recurrence import leaves_python

__all__ = ["Padded", "checked_lengths", "from_packed", "from_padded", "one_step_of"]

_LENGTHS = "lengths must lie between 0 and T = {}"
_ROWS = "the packed sequence must have as many rows as the start state, {}"


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
        T, B = self.data.shape[:2]
        if self.batch_first:
            return checked_resets(given, (B, T), "[B, T]", self.data.device).t()
        return checked_resets(given, (T, B), "[T, B]", self.data.device)

    def elapsed(self, given: Tensor | PackedSequence | float | None) -> Tensor | None:
        """The time since the step before, `[T, B, 1]`, from the form in which the input came; 0 where a row has ended.

        Raises:
            ShapeError: not one number per step and sequence.
        """
        if given is None:
            return None
        T, B = self.data.shape[:2]
        if isinstance(given, PackedSequence):
            if self.packed is None or not torch.equal(given.batch_sizes, self.packed.batch_sizes):
                raise ShapeError("dt is a PackedSequence, and the input none of the same lengths; pack both alike")
            steps = from_packed(given._replace(data=given.data.reshape(-1, 1))).data
        else:
            sizes = (B, T) if self.batch_first else (T, B)
            steps = _numbers(given, sizes, "[B, T]" if self.batch_first else "[T, B]", self.data)
            steps = steps.transpose(0, 1) if self.batch_first else steps
        return _blank_padding(steps.to(self.data.dtype), self.lengths)

    def restore(self, y: Tensor) -> Tensor | PackedSequence:
        """An output `[T, B, F]` in the form in which the input came, zero where a row has ended."""
        if self.packed is not None and self.places is not None:
            given, lines = self.packed, y.flatten(0, 1).index_select(0, self.places)
            return PackedSequence(lines, given.batch_sizes, given.sorted_indices, given.unsorted_indices)
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
    rows = checked_lengths(lengths, data)
    return Padded(_blank_padding(data, rows), rows, batch_first=batch_first)


def from_packed(packed: PackedSequence, rows: int | None = None) -> Padded:
    """Takes a packed sequence, sorted or not. `rows` is how many there are, where the start state says so."""
    counts, lines, order = packed.batch_sizes, packed.data, packed.sorted_indices
    rows = rows if order is None else order.shape[0]
    T, B = counts.shape[0], int(counts[0]) if rows is None else rows
    # Checked by an operator, so that the graph holds the check and it runs at each call.
    if torch.compiler.is_compiling():
        counts = torch.cat([checked(counts[:1], B, B, _ROWS), counts[1:]])
    order = torch.arange(B) if order is None else order.to(counts.device)
    valid = torch.arange(B, device=counts.device) < counts[:, None]  # rows by falling length: a step's are its first
    places = _places_of(valid, lines.shape[0], order).to(lines.device)
    data = lines.new_zeros(T * B, *lines.shape[1:]).index_copy_(0, places, lines).unflatten(0, (T, B))
    # Rows that are all full need no lengths, and take the faster path.
    if lines.shape[0] == T * B:
        return Padded(data, None, packed=packed, places=places)
    lengths = torch.zeros(B, dtype=torch.int64, device=counts.device).index_copy_(0, order, valid.sum(0))
    return Padded(data, lengths.to(lines.device), packed=packed, places=places)


def _places_of(valid: Tensor, count: int, order: Tensor) -> Tensor:
    """Where each line of a packed sequence lies among the `T · B` rows."""
    B, there = len(order), valid.flatten()
    if not torch.compiler.is_compiling():
        step, row = valid.nonzero(as_tuple=True)
        return step * B + order[row]
    # A graph has shapes, so no `nonzero` there: places that hold no line write to one too many, which is cut off.
    line = torch.where(there, there.cumsum(0) - 1, count)
    grid = torch.arange(len(there), device=there.device)
    sorted_place = grid.new_empty(count + 1).scatter_(0, line, grid)[:count]
    return sorted_place // B * B + order[sorted_place % B]


def checked_lengths(lengths: Tensor | Sequence[int], data: Tensor) -> Tensor | None:
    """Lengths of the rows of `data [T, B, …]` as integers on its device; none if all rows are `T` long.

    Raises:
        ShapeError: not one integer from 0 to `T` per row (values are checked on the CPU only).
    """
    T, B = data.shape[:2]
    # Of an empty list torch would make floating-point numbers.
    rows = torch.as_tensor(lengths, dtype=torch.int64 if isinstance(lengths, list) and not lengths else None)
    if rows.shape != (B,) or rows.is_floating_point() or rows.dtype == torch.bool:
        raise ShapeError(f"lengths must be {B} integers, one per row, found shape {list(rows.shape)} of {rows.dtype}")
    # On a GPU the values are not looked at: that would wait for it at each call.
    if leaves_python():
        # An operator of torch's own, which exporters know: ONNX's leaves it out, for it has no way to refuse.
        within = (rows >= 0).all() & (rows <= T).all()
        torch.ops.aten._assert_async.msg(within, "lengths must lie between 0 and T, the number of steps")
        return rows.long().to(data.device)
    if rows.device.type == "cpu" and torch.compiler.is_compiling():
        return checked(rows.long(), 0, T, _LENGTHS).to(data.device)
    if rows.device.type == "cpu":
        _refuse_outside(rows, 0, T, _LENGTHS)
        if bool((rows == T).all()):
            return None
    return rows.to(data.device, torch.int64)


def _refuse_outside(values: Tensor, low: int, high: int, demand: str) -> None:
    if values.numel() and not (int(values.min()) >= low and int(values.max()) <= high):
        raise ShapeError(f"{demand.format(high)}, found {int(values.min())} to {int(values.max())}")


@torch.library.custom_op("gateflow::checked", mutates_args=())
def checked(values: Tensor, low: int, high: int, demand: str) -> Tensor:
    """The same integers, once they are known to lie between `low` and `high`: under `torch.compile`, when it runs.

    Raises:
        ShapeError: they do not.
    """
    _refuse_outside(values, low, high, demand)
    # A custom operator may not return its input.
    return values.clone()


@checked.register_fake
def _(values: Tensor, low: int, high: int, demand: str) -> Tensor:
    return torch.empty_like(values)


def one_step_of(dt: Tensor | float, x: Tensor) -> Tensor:
    """The time since the step before for one step of a stream, `[B, 1]`.

    Raises:
        ShapeError: not one number per row.
    """
    return _numbers(dt, (x.shape[0],), "[B]", x)


def _numbers(given: Any, sizes: tuple[int, ...], form: str, like: Tensor) -> Tensor:
    """One number for all, or one for each place, with a dimension of 1 at the end."""
    try:
        found = torch.as_tensor(given, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"dt must be numbers {form}, found {type(given).__name__}: {error}") from error
    if tuple(found.shape) not in ((), sizes, (*sizes, 1)) or found.dtype == torch.bool or found.is_complex():
        raise ShapeError(
            f"dt must be one number for each step of each sequence, {form} = {list(sizes)}, or one for all; found "
            f"{list(found.shape)} of {found.dtype}"
        )
    return found.to(like.dtype).reshape(*found.shape[: len(sizes)], 1).expand(*sizes, 1)


def _blank_padding(data: Tensor, lengths: Tensor | None) -> Tensor:
    """Zeros where a row has ended, whatever stood there: NaN in the padding must not reach a gradient."""
    if lengths is None:
        return data
    # `where` and no product: NaN times zero is NaN.
    valid = torch.arange(data.shape[0], device=data.device)[:, None] < lengths
    return torch.where(valid[:, :, None], data, 0.0)
