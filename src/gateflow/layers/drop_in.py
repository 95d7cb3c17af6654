"""`RNN`, `GRU` and `LSTM` with the constructor, call, shapes and `state_dict` of `torch.nn`'s: change the import."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow import cells
from gateflow.cells.torch_equivalents import cell_of_layer
from gateflow.errors import ConfigError, ShapeError
from gateflow.layers.arguments import checked_dropout, refuse_wrong_arguments
from gateflow.layers.as_torch import AsTorch
from gateflow.layers.leaf import as_leaf, is_traced
from gateflow.layers.options import Options
from gateflow.layers.sequences import Padded, from_packed, from_padded
from gateflow.layers.stack import CellFactory
from gateflow.recurrence.private_torch import any_autocast

__all__ = ["GRU", "LSTM", "RNN"]


class _DropIn(AsTorch):
    """What the three share: torch's arguments, torch's state layout `[L·D, B, H]`, input without a batch."""

    _fixed = AsTorch._fixed | {"hidden_size", "proj_size", "mode", "nonlinearity"}

    def __init__(
        self,
        factory: CellFactory,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        memory: str,
        mode: str,
        proj_size: int = 0,
        **placement: Any,
    ):
        # The third frame from here is the user's, where torch's warning points as well: ours, the subclass's, theirs.
        rate = checked_dropout(dropout, num_layers, stacklevel=3)
        refuse_wrong_arguments(input_size, hidden_size, num_layers, proj_size, bias=bias, batch_first=batch_first)
        options = Options(bias=bias, dropout=rate, bidirectional=bool(bidirectional), memory=memory)
        super().__init__([factory] * num_layers, input_size, [hidden_size] * num_layers, options, **placement)
        self.hidden_size, self.proj_size, self.mode, self.batch_first = hidden_size, proj_size, mode, batch_first

    def extra_repr(self) -> str:
        """The arguments, as `torch.nn` prints them, and ours where it is not the default."""
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        usual |= {"bidirectional": False}
        changed = [f"{n}={found}" for n, value in usual.items() if (found := getattr(self, n)) != value]
        memory = [f"memory={self.memory!r}"] if self.memory != "fast" else []
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed, *memory])

    def _forward(
        self, x: Tensor | PackedSequence, hx: tuple[Tensor, ...] | None, resets: Tensor | None
    ) -> tuple[Any, tuple[Tensor, ...]]:
        sequences, batched = self._opened(x, hx)
        if hx is None:
            start = self.initial_state(sequences.data)
        else:
            # Without a batch the state has no batch either, as in torch.
            hx = hx if batched else tuple(part.unsqueeze(1) for part in hx)
            self._check_state(hx, sequences.data.shape[1])
            start = _unstacked(hx)
        begins = sequences.resets(resets if resets is None or batched else torch.as_tensor(resets)[:, None])
        (y,), final = self.run(sequences.data, start, sequences.lengths, begins)
        stacked = _stacked(final)
        if batched:
            return sequences.restore(y), stacked
        return y.squeeze(1), tuple(part.squeeze(1) for part in stacked)

    def _opened(self, x: Tensor | PackedSequence, hx: tuple[Tensor, ...] | None) -> tuple[Padded, bool]:
        data, kind = x.data if isinstance(x, PackedSequence) else x, type(self).__name__
        # In torch's words, for code and tests that match on them.
        if not isinstance(x, PackedSequence) and x.dim() not in (2, 3):
            raise ShapeError(f"{kind}: Expected input to be 2D or 3D, got {x.dim()}D tensor instead")
        if data.shape[-1] != self.input_size:
            raise ShapeError(
                f"{kind}: input.size(-1) must be equal to input_size. Expected {self.input_size}, got {data.shape[-1]}"
            )
        weight = self.weight_ih_l0
        # Under autocast input and weights differ in dtype on purpose.
        if not any_autocast() and data.dtype != weight.dtype:
            raise ShapeError(
                f"RNN input dtype ({data.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({data.dtype})"
            )
        if isinstance(x, PackedSequence):
            # The number of rows is in `batch_sizes`, whose values a graph does not know; the state's
            # shape tells it too.
            return from_packed(x, hx[0].shape[1] if hx and torch.compiler.is_compiling() else None), True
        return from_padded(x if x.dim() == 3 else x.unsqueeze(1), None, self.batch_first and x.dim() == 3), x.dim() == 3

    def _check_state(self, hx: tuple[Tensor, ...], batch: int) -> None:
        names, sizes = zip(*self._equations[0].state_sizes.items(), strict=True)
        if len(hx) != len(names):
            raise ShapeError(f"{type(self).__name__}: hx must hold {len(names)} tensors, {names}; found {len(hx)}")
        for k, (size, part) in enumerate(zip(sizes, hx, strict=True)):
            wanted = (self.num_layers * self.num_directions, batch, size)
            if tuple(part.shape) != wanted:
                which = "hidden" if len(hx) == 1 else f"hidden[{k}]"
                raise ShapeError(f"Expected {which} size {wanted} for the state {names[k]}, got {list(part.shape)}")


def _unstacked(hx: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """The states of each layer and direction, from torch's layout."""
    if len(hx[0]) == 1:
        return [tuple([part[0] for part in hx])]
    return list(zip(*(part.unbind(0) for part in hx), strict=True))


def _stacked(states: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The states of all layers and directions in torch's layout."""
    if len(states) == 1:
        return tuple([part[None] for part in states[0]])
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


class _OneState(_DropIn):
    """Those whose state is one tensor."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, *, resets: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """Output and final state; see the class for shapes, and `Recurrent` for `resets`."""
        if is_traced(input):
            return as_leaf(self, input, hx, resets=resets)
        y, (h,) = self._forward(input, None if hx is None else (hx,), resets)
        return y, h


class RNN(_OneState, nn.RNN):
    """Elman network with tanh or ReLU, as `torch.nn.RNN`.

    Args:
        input_size, hidden_size: sizes `I` and `H`.
        num_layers, nonlinearity ("tanh" or "relu"), bias, batch_first, dropout, bidirectional, device, dtype: as there.
        memory: "fast" or "lean", see `Recurrent`.

    Shape: input `[T, B, I]`, `[B, T, I]` with `batch_first`, `[T, I]` without a batch, or packed; `hx [L·D, B, H]`.

    Raises:
        ConfigError: an unknown nonlinearity or a size that is not positive.
        ShapeError: input or state do not fit.

    Example:
        >>> y, h = RNN(3, 4, num_layers=2)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape
        (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        memory: str = "fast",
    ):
        # torch has no other nonlinearity; further cells are for `Recurrent`.
        if nonlinearity not in ("tanh", "relu"):
            raise ConfigError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            cell_of_layer(mode := f"RNN_{nonlinearity.upper()}"),
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            memory,
            mode=mode,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class GRU(_OneState, nn.GRU):
    """GRU with the reset after the product, as `torch.nn.GRU`. For the original one: `Recurrent("full_gru", …)`.

    Args:
        input_size, hidden_size: sizes `I` and `H`.
        num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as there.
        memory: "fast" or "lean", see `Recurrent`.

    Shape: input `[T, B, I]`, `[B, T, I]` with `batch_first`, `[T, I]` without a batch, or packed; `hx [L·D, B, H]`.

    Raises:
        ConfigError: a size that is not positive.
        ShapeError: input or state do not fit.

    Example:
        >>> y, h = GRU(3, 4, bidirectional=True)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        memory: str = "fast",
    ):
        super().__init__(
            cells.GRU,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            memory,
            mode="GRU",
            device=device,
            dtype=dtype,
        )


class LSTM(_DropIn, nn.LSTM):
    """LSTM as `torch.nn.LSTM`, with `proj_size`.

    Args:
        input_size, hidden_size: sizes `I` and `H`.
        proj_size: if positive, the output is a product `W_hr` of the memory's reading, of this size.
        num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as there.
        memory: "fast" or "lean", see `Recurrent`.

    Shape: input `[T, B, I]`, `[B, T, I]` with `batch_first`, `[T, I]` without a batch, or packed; `hx` is
        `(h [L·D, B, P or H], c [L·D, B, H])`.

    Raises:
        ConfigError: a size that is not positive, or `proj_size` not below `hidden_size`.
        ShapeError: input or state do not fit.

    Example:
        >>> y, (h, c) = LSTM(3, 4, proj_size=2)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape, c.shape
        (torch.Size([5, 2, 2]), torch.Size([1, 2, 2]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        memory: str = "fast",
    ):
        factory: CellFactory = cells.LSTM
        if proj_size:
            factory = functools.partial(cells.ProjectedLSTM, proj_size=proj_size)
        super().__init__(
            factory,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            memory,
            mode="LSTM",
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        resets: Tensor | None = None,
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Output and final state; see the class for shapes, and `Recurrent` for `resets`."""
        if is_traced(input):
            return as_leaf(self, input, hx, resets=resets)
        y, (h, c) = self._forward(input, hx, resets)
        return y, (h, c)
