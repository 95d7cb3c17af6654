"""A network of ours with torch's layers in the place of its recurrent ones, and the same weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gateflow.cells.torch_equivalents import cell_of_layer
from gateflow.layers import Recurrent

Model = TypeVar("Model", bound=nn.Module)


States = Sequence[tuple[Tensor, ...]]


class Packed(nn.RNNBase):
    """What a layer of torch's does with padded sequences of these lengths, called as `gateflow.Recurrent` is."""

    def forward(  # type: ignore[override]
        self, x: Tensor, states: States | None = None, *, lengths: Tensor | None = None, dt: None = None
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Outputs ``[T, B, D H]`` and the last states of each layer and direction, from those that are given."""
        assert dt is None, "torch's layers are told no times"
        begun: Any = None if states is None else tuple(torch.stack(part) for part in zip(*states, strict=True))
        if begun is not None and len(begun) == 1:
            (begun,) = begun
        # Torch packs no sequence without steps; one step of it is read, and a read-out looks at none.
        read: Any = x if lengths is None else pack_padded_sequence(x, lengths.clamp_min(1).cpu(), enforce_sorted=False)
        output, last = super().forward(read, begun)
        parts = last if isinstance(last, tuple) else (last,)
        padded = output if lengths is None else pad_packed_sequence(output, total_length=len(x))[0]
        return padded, list(zip(*parts, strict=True))

    def as_asked(self, own: Recurrent) -> Packed:
        """With what a network asks of the layers besides: their cells' states, and how they begin."""
        self.output_size, self.num_directions = own.output_size, own.num_directions
        # In a tuple, which registers no parameters.
        self.cells, self.initial_state = tuple(own.cells), own.initial_state
        return self


class PackedLSTM(Packed, nn.LSTM):
    """Torch's LSTM."""


class PackedGRU(Packed, nn.GRU):
    """Torch's GRU."""


class PackedRNN(Packed, nn.RNN):
    """Torch's network of Elman's cell."""


LAYERS: dict[Any, type[Packed]] = {
    cell_of_layer(mode): layer for mode, layer in (("LSTM", PackedLSTM), ("GRU", PackedGRU), ("RNN_TANH", PackedRNN))
}
"""By the cell that computes the same."""


def on_torch(model: Model) -> Model:
    """The same model with torch's layers: one module for all layers of a stack, as its users write it.

    Between layers torch drops single values, where those of most tasks drop a unit for a whole sequence. All else is
    the same.

    Raises:
        KeyError: torch has no layer of the cell.
    """
    peer: Any = copy.deepcopy(model)
    for holder in list(peer.modules()):
        if isinstance(own := getattr(holder, "recurrent", None), Recurrent):
            layers = LAYERS[type(own.layer_cells(0)[0])](
                own.input_size,
                own.hidden_size,
                num_layers=own.num_layers,
                bidirectional=own.bidirectional,
                # Of a single layer there is no between, and torch warns of what it would not use.
                dropout=(own.options.dropout or own.options.variational_dropout) if own.num_layers > 1 else 0.0,
            )
            holder.recurrent = layers.as_asked(own)
    peer.load_state_dict(model.state_dict())
    return peer
