"""`Recurrent`: any cell, or a mix of cells, as a layer with every option on one page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow import cells
from gateflow.cells import Cell
from gateflow.errors import ConfigError, ShapeError
from gateflow.layers.episodes import checked_resets
from gateflow.layers.leaf import as_leaf, is_traced
from gateflow.layers.options import Options
from gateflow.layers.sequences import Padded, from_packed, from_padded, one_step_of
from gateflow.layers.stack import CellFactory, Stack, State

__all__ = ["Recurrent"]

Output = Tensor | PackedSequence | tuple[Tensor | PackedSequence, ...]


class Recurrent(Stack):
    """Recurrent layers of any cell.

    Args:
        cell: a name of `cells.names()`, a `Cell` subclass, or a sequence of them, one per layer, lowest first.
        input_size: size `I` of the input.
        hidden_size: size `H` of each state, or a sequence of sizes, one per layer.
        num_layers: how many layers; follows from `cell` or `hidden_size` where they are sequences.
        bias: whether gates have biases.
        bidirectional: a second cell per layer reads each sequence from its end.
        batch_first: input and output are `[B, T, F]` instead of `[T, B, F]`.
        merge: how the two directions become one output: "concat", "sum", "mean", "mul"; None leaves two outputs.
        skip: "residual" (`y = x + F(x)`) or "highway" (`y = g ∘ F(x) + (1 - g) ∘ x`) around each layer; where sizes
            differ, `x` goes through a learned product.
        dropout: probability of dropping a value between layers.
        variational_dropout: the same with one mask for all time steps.
        weight_dropout: probability of dropping a recurrent weight for a whole pass.
        zoneout: probability that a unit keeps its old state at a step; one number, or one for each part of the state.
            In eval mode its expectation is used.
        learn_initial_state: the state before the first step is learned (from zero) where none is given.
        dense: sizes of dense ReLU layers on top, applied to each step on its own.
        memory: what training keeps of each step on the native path: "fast" the states and whatever the backward pass
            needs of its values (about one row per gate), "lean" the states alone; the rest is then computed again,
            chunk by chunk. Same results, less memory, slower backward. The other paths keep what torch keeps.
        strict: raise `PathError` instead of running on the slow reference loop.
        device, dtype: where and in what precision the weights live.

    Shape:
        * input `[T, B, I]`, `[B, T, I]` with `batch_first`, or a `PackedSequence`.
        * lengths: `[B]` integers from 0 to `T`, any order, any device. What lies beyond a row's length is never seen,
          and the output there is zero.
        * resets: `[T, B]` truth values, `[B, T]` with `batch_first`: where one is true a new episode begins, before
          that step, with zeros or what was learned; what was given is the state of the episode that goes on. Each
          episode is a sequence of its own, for a reverse direction and for masks of dropout in time too.
        * dt: `layer(x, dt=…)` for cells whose step takes the time since the step before (`cfc`, `gru_d`, or one of
          yours): `[T, B]` in the form of the input, a PackedSequence where that is one, or one number for all; 1 if
          not given. It may have a gradient. A reverse direction, whose step before is the next one, is given the time
          up to that.
        * state: a list with one entry per layer and direction (layer by layer, forward before reverse); each entry a
          tuple with one `[B, size]` per part of the cell's state. Zeros, or what was learned, if not given.
        * output `[T, B, output_size]` in the form of the input; with `merge=None` a tuple of two.

    Raises:
        ConfigError: options that cannot work, alone or together.
        UnknownCellError: no cell has that name.
        ShapeError: input, lengths or state do not fit.

    Example:
        >>> layer = Recurrent("peephole_lstm", 8, 16, num_layers=2, bidirectional=True, merge="sum", skip="residual")
        >>> y, state = layer(torch.zeros(5, 3, 8), lengths=[5, 0, 2])
        >>> y.shape, len(state), [part.shape[-1] for part in state[0]]
        (torch.Size([5, 3, 16]), 4, [16, 16])
    """

    _fixed = Stack._fixed | {"hidden_size"}

    def __init__(
        self,
        cell: str | CellFactory | Sequence[str | CellFactory],
        input_size: int,
        hidden_size: int | Sequence[int],
        *,
        num_layers: int | None = None,
        batch_first: bool = False,
        dense: Sequence[int] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ):
        factories, sizes = _per_layer(cell, hidden_size, num_layers)
        super().__init__(factories, input_size, sizes, _options(options), device=device, dtype=dtype)
        self.batch_first, self.hidden_size = batch_first, hidden_size
        # Once: single steps compare each state with them.
        self._state_sizes = [tuple(cell.state_sizes.values()) for cell in self._equations]
        if dense and self.bidirectional and self.options.merge is None:
            raise ConfigError("dense layers need one output, merge=None gives two; choose a merge")
        widths = [self.output_size, *dense]
        tower = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b, device=device, dtype=dtype), nn.ReLU())]
        self.dense = nn.Sequential(*tower)
        vars(self)["output_size"] = widths[-1]  # fixed from here on

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Sequence[State] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        dt: Tensor | PackedSequence | float | None = None,
    ) -> tuple[Output, list[State]]:
        """Runs over whole sequences; see the class for shapes."""
        if is_traced(x):
            return as_leaf(self, x, state, lengths, resets, dt)
        sequences = self._opened(x, lengths)
        start = (
            self.initial_state(sequences.data) if state is None else self._checked_state(state, sequences.data.shape[1])
        )
        begins, elapsed = sequences.resets(resets), sequences.elapsed(self._checked_dt(dt))
        outputs, final = self.run(sequences.data, start, sequences.lengths, begins, elapsed)
        restored = tuple(sequences.restore(self.dense(y)) for y in outputs)
        return restored[0] if len(restored) == 1 else restored, final

    def step(
        self,
        x: Tensor,
        state: Sequence[State] | None = None,
        resets: Tensor | None = None,
        dt: Tensor | float | None = None,
    ) -> tuple[Tensor, list[State]]:
        """One time step for streaming: `x [B, I]` to the output `[B, output_size]` and the new state.

        The weights are read again at each step, whatever has changed them. Many steps over the same weights are faster
        within `streaming`, which keeps them as the kernel reads them. `resets`, `[B]` truth values, says which rows
        begin a new episode with this step; `dt`, `[B]` or one number, is the time since the step before.

        Raises:
            ConfigError: the layer is bidirectional; its reverse half needs the end of the sequence first.
        """
        if resets is not None:
            begins = checked_resets(resets, (x.shape[0],), "[B]", x.device)[:, None]
            starts = zip(state or (), self.initial_state(x[None]), strict=state is not None)
            state = [tuple(map(functools.partial(torch.where, begins), new, old)) for old, new in starts] or None
        # First the way that needs no checks: what does not fit is not taken, and is told about below.
        self._checked_dt(dt)
        elapsed = None if dt is None else one_step_of(dt, x)
        taken = None if state is None else self.streamed(x, state, elapsed)
        y, final = self._checked_step(x, state, elapsed) if taken is None else taken
        dense: Any = self._modules["dense"]  # as `self.dense`, which takes a microsecond
        return dense(y) if dense._modules else y, final

    def _checked_dt(self, dt: Any) -> Any:
        if dt is not None and not self.takes_dt:
            names = ", ".join(dict.fromkeys(type(cell).__name__ for cell in self._equations))
            raise ShapeError(
                f"dt was given, and no cell of this layer ({names}) takes it; leave it out, take cfc or gru_d, or "
                "write `def step(self, x, dt, …)`"
            )
        return dt

    def _checked_step(self, x: Tensor, state: Sequence[State] | None, dt: Tensor | None) -> tuple[Tensor, list[State]]:
        if self.bidirectional:
            raise ConfigError(
                "a bidirectional layer cannot stream: its reverse direction starts at the end of the sequence; "
                "build it with bidirectional=False, or call it on whole sequences"
            )
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ShapeError(f"step takes one time step [B, I] with I = {self.input_size}, found {list(x.shape)}")
        start = self.initial_state(x[None]) if state is None else self._checked_state(state, x.shape[0])
        return self.run_step(x, start, dt)

    def extra_repr(self) -> str:
        """Cells, sizes, and the options that differ from their defaults."""
        cells = ", ".join(f"{type(c).__name__}({c.extra_repr()})" for c in self._equations[:: self.num_directions])
        fields = Options.__dataclass_fields__.items()
        changed = [f"{n}={v!r}" for n, f in fields if (v := getattr(self.options, n)) != f.default]
        return ", ".join([cells, *changed, *(["batch_first=True"] if self.batch_first else [])])

    def _opened(self, x: Tensor | PackedSequence, lengths: Tensor | Sequence[int] | None) -> Padded:
        data = x.data if isinstance(x, PackedSequence) else x
        if data.shape[-1] != self.input_size:
            raise ShapeError(
                f"input must have size I = {self.input_size} in its last dimension, found {list(data.shape)}"
            )
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ShapeError("a PackedSequence knows its lengths; call the layer without `lengths`")
            return from_packed(x)
        if x.dim() != 3:
            form = "[B, T, I]" if self.batch_first else "[T, B, I]"
            raise ShapeError(f"input must be {form} or a PackedSequence, found {x.dim()} dimensions: {list(x.shape)}")
        return from_padded(x, lengths, self.batch_first)

    def _checked_state(self, state: Sequence[State], samples: int) -> list[State]:
        found = [[tuple(part.shape) for part in parts] for parts in state]
        if found != [[(samples, size) for size in sizes] for sizes in self._state_sizes]:
            wanted = [[(samples, size) for size in sizes] for sizes in self._state_sizes]
            raise ShapeError(f"state must hold, per layer and direction, parts of shapes {wanted}; found {found}")
        return [tuple(parts) for parts in state]


def _options(options: dict[str, Any]) -> Options:
    unknown = sorted(set(options) - set(Options.__dataclass_fields__))
    if unknown:
        known = ", ".join(Options.__dataclass_fields__)
        raise TypeError(f"Recurrent has no option {', '.join(map(repr, unknown))}; it has {known}")
    return Options(**options)


def _per_layer(cell: Any, hidden_size: Any, num_layers: int | None) -> tuple[list[CellFactory], list[int]]:
    """One cell and one size per layer, from whichever of the three arguments says how many layers there are."""
    given = {
        "cell": len(cell) if isinstance(cell, Sequence) and not isinstance(cell, str) else None,
        "hidden_size": len(hidden_size) if isinstance(hidden_size, Sequence) else None,
        "num_layers": num_layers,
    }
    counts = {name: count for name, count in given.items() if count is not None}
    if len(set(counts.values())) > 1 or any(not isinstance(n, int) or n < 1 for n in counts.values()):
        raise ConfigError(f"number of layers must be the same everywhere and at least 1, found {counts}")
    count = next(iter(counts.values()), 1)
    kinds: list[Any] = list(cell) if given["cell"] else [cell] * count
    sizes: Any = list(hidden_size) if given["hidden_size"] else [hidden_size] * count
    return [cells.get(kind) if isinstance(kind, str) else _factory(kind) for kind in kinds], sizes


def _factory(kind: Any) -> Any:
    # A cell that is built would bring weights of its own sizes, one set for all layers.
    if isinstance(kind, Cell) or not callable(kind):
        raise ConfigError(f"cell must be a name, a Cell subclass or a function that builds one, found {kind!r}")
    return kind
