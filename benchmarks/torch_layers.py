"""A network of ours with torch's LSTM in the place of its recurrent layers, and the same weights."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gateflow.layers import Recurrent

Model = TypeVar("Model", bound=nn.Module)


class PackedLSTM(nn.LSTM):
    """Torch's LSTM over padded sequences of these lengths, called as `gateflow.Recurrent` is."""

    def forward(self, x: Tensor, *, lengths: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:  # type: ignore[override]
        """Outputs ``[T, B, D H]`` and the last states of each direction."""
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, states = super().forward(packed)
        return pad_packed_sequence(output, total_length=len(x))[0], list(zip(*states, strict=True))


def on_torch(model: Model) -> Model:
    """The same model with torch's layers; each of ours is one LSTM."""
    peer: Any = copy.deepcopy(model)
    for holder in list(peer.modules()):
        if isinstance(own := getattr(holder, "recurrent", None), Recurrent):
            holder.recurrent = PackedLSTM(own.input_size, own.hidden_size, bidirectional=own.bidirectional)
    peer.load_state_dict(model.state_dict())
    return peer
