"""The recurrent encoder and decoder of a translator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.layers import Attended, Attention, Recurrent
from gateflow.layers.dropout import LockedDropout
from gateflow.tasks.translator.coding import Decoded, Encoded, States

__all__ = ["RecurrentDecoder", "RecurrentEncoder", "RecurrentState"]


@dataclass(frozen=True)
class RecurrentState:
    """Where a decoder is in its target.

    Attributes:
        layers: for each layer a tuple of ``[B, size]``.
        found: ``[B, output_size]``, what the last step gave, for the next one to read; none without input feeding.
        attended: the memory as attention reads it; none without attention.
    """

    layers: States
    found: Tensor | None
    attended: Attended | None

    def select(self, rows: Tensor) -> Self:
        """The states of these rows, in their order; a row may come several times."""
        return type(self)(
            tuple(tuple(part[rows] for part in parts) for parts in self.layers),
            None if self.found is None else self.found[rows],
            None if self.attended is None else self.attended.select(rows),
        )


class RecurrentEncoder(nn.Module):
    """Recurrent layers over the source, in both directions.

    Args:
        cell: any cell.
        embedding_size: of what is read.
        hidden_size, num_layers: units per layer and direction, and layers.
        bidirectional: whether the source is read from its end too.
        attention: which attention will look at it; for "dot" the directions are added, so that sizes are equal.
        dropout: share dropped between layers, with one mask for a sequence.
        recurrent: further options of `gateflow.Recurrent`.
    """

    def __init__(
        self,
        *,
        cell: str | type[Cell],
        embedding_size: int,
        hidden_size: int = 256,
        num_layers: int = 1,
        bidirectional: bool = True,
        attention: str = "general",
        dropout: float = 0.0,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        options = {"bidirectional": bidirectional, "merge": "sum" if attention == "dot" else "concat", **recurrent}
        self.recurrent = Recurrent(
            cell, embedding_size, hidden_size, num_layers=num_layers, variational_dropout=dropout, **options
        )
        self.output_size = self.recurrent.output_size

    def forward(self, vectors: Tensor, lengths: Tensor) -> Encoded:
        """Reads vectors ``[S, B, E]``."""
        memory, final = self.recurrent(vectors, lengths=lengths)
        return Encoded(memory, lengths, tuple(final))

    def final_sizes(self, layer: int) -> int:
        """The size of all parts of the final state of a layer, both directions together."""
        directions = self.recurrent.num_directions
        cells = self.recurrent.cells[layer * directions : (layer + 1) * directions]
        return sum(sum(cell.state_sizes.values()) for cell in cells)


class RecurrentDecoder(nn.Module):
    """Recurrent layers over the target, which look back at the source by attention.

    ``h_t = layers(y_{t-1})``, ``c_t = attention(h_t, m)``, ``o_t = tanh(W [c_t, h_t])``. The layers begin from a learnt
    map of the encoder's final states. With input feeding they read ``[y_{t-1}, o_{t-1}]``, so that steps have to
    go one by one; without it one call runs over the whole target.

    Args:
        encoder: whose memory and final states are read.
        cell: any cell.
        embedding_size, hidden_size, num_layers, attention, dropout, recurrent: as of `RecurrentEncoder`.
        output_size: of ``o_t``; that of the units if left out.
        input_feeding: whether each step reads what the one before has given.

    Source: Luong, Pham, Manning (2015). Effective approaches to attention-based neural machine translation. EMNLP.
    arXiv:1508.04025.
    """

    def __init__(
        self,
        encoder: RecurrentEncoder,
        *,
        cell: str | type[Cell],
        embedding_size: int,
        hidden_size: int = 256,
        num_layers: int = 1,
        attention: str = "general",
        output_size: int | None = None,
        input_feeding: bool = False,
        dropout: float = 0.0,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        self.output_size, self.input_feeding = output_size or hidden_size, input_feeding
        width = embedding_size + (self.output_size if input_feeding else 0)
        self.recurrent = Recurrent(
            cell, width, hidden_size, num_layers=num_layers, variational_dropout=dropout, **recurrent
        )
        of_attention: Any = attention
        self.attention = (
            None if attention == "none" else Attention(self.recurrent.output_size, encoder.output_size, of_attention)
        )
        self.feature_size = self.recurrent.output_size + (encoder.output_size if self.attention else 0)
        self.output, self.dropout = nn.Linear(self.feature_size, self.output_size), LockedDropout(dropout)
        self.directions = encoder.recurrent.num_directions
        # The encoder may have other layers than the decoder one day; the last one then begins the rest.
        layers = [min(k, encoder.recurrent.num_layers - 1) for k in range(num_layers)]
        self.begins = nn.ModuleList(
            nn.Linear(encoder.final_sizes(layer), sum(self._begun(cell).values()))
            for layer, cell in zip(layers, self.recurrent.cells, strict=True)
        )

    def start(self, memory: Encoded) -> RecurrentState:
        """The state before the first step."""
        states, last, size = [], len(memory.final) // self.directions - 1, self.directions
        plain = self.recurrent.initial_state(memory.memory[:1])
        for k, (begin, cell) in enumerate(zip(self.begins, self.recurrent.cells, strict=True)):
            layer = min(k, last)
            read = [part for parts in memory.final[layer * size : (layer + 1) * size] for part in parts]
            sizes = self._begun(cell)
            begun = dict(zip(sizes, torch.tanh(begin(torch.cat(read, -1))).split([*sizes.values()], -1), strict=True))
            states.append(tuple(begun.get(name, part) for name, part in zip(cell.states, plain[k], strict=True)))
        found = memory.memory.new_zeros(memory.memory.shape[1], self.output_size) if self.input_feeding else None
        attended = None if self.attention is None else self.attention.attended(memory.memory, memory.lengths)
        return RecurrentState(tuple(states), found, attended)

    def forward(self, vectors: Tensor, state: RecurrentState, lengths: Tensor | None = None) -> Decoded:
        """Goes on from `state` over vectors ``[T, B, E]``."""
        if not self.input_feeding:
            found = self._steps(vectors, vectors, state, lengths)
        else:
            found = self._step_by_step(vectors, state)
        # Over all steps at once, so that there is one mask for them.
        return replace(found, outputs=self.dropout(found.outputs))

    def _step_by_step(self, vectors: Tensor, state: RecurrentState) -> Decoded:
        found: list[Decoded] = []
        for vector in vectors.split(1):
            assert state.found is not None, "as `start` has it"
            read = torch.cat([vector, state.found[None]], -1)
            found.append(self._steps(vector, read, state))
            state = found[-1].state
        outputs, features, weights = (
            _joined([getattr(step, name) for step in found]) for name in ("outputs", "features", "weights")
        )
        return Decoded(vectors, outputs, features, weights, state)

    def _steps(self, vectors: Tensor, read: Tensor, state: RecurrentState, lengths: Tensor | None = None) -> Decoded:
        hidden, layers = self.recurrent(read, list(state.layers), lengths=lengths)
        features, weights = hidden, None
        if self.attention is not None and state.attended is not None:
            context, weights = self.attention.find(hidden, state.attended)
            features = torch.cat([context, hidden], -1)
        outputs = torch.tanh(self.output(features))
        after = RecurrentState(tuple(layers), outputs[-1] if self.input_feeding else None, state.attended)
        return Decoded(vectors, outputs, features, weights, after)

    @property
    def attends(self) -> bool:
        """Whether it looks back at the source."""
        return self.attention is not None

    @staticmethod
    def _begun(cell: Cell) -> dict[str, int]:
        """The parts of a state that begin from the source: the hidden state and the memory.

        Others are counts and maxima of steps so far, such as the normaliser of an sLSTM, and begin as the cell says.
        """
        return {name: size for k, (name, size) in enumerate(cell.state_sizes.items()) if k == 0 or name == "c"}


def _joined(steps: Sequence[Tensor | None]) -> Any:
    return None if steps[0] is None else torch.cat([step for step in steps if step is not None])
