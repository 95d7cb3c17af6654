"""A stack of recurrent layers: it owns the weights under torch's names; its cells own the equations."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.errors import ConfigError, ExportError
from gateflow.layers import saved
from gateflow.layers.attributes import Attributes
from gateflow.layers.draft import Draft
from gateflow.layers.dropout import LockedDropout, drop_recurrent_weights, zoneout_masks
from gateflow.layers.episodes import Episodes
from gateflow.layers.options import MERGES, SKIPS, Options
from gateflow.recurrence import Choice, Stream, choose, filled, leaves_python, prepare, run_layer, streams_now

__all__ = ["CellFactory", "Stack", "State", "layers_run_by"]

State = tuple[Tensor, ...]
CellFactory = Callable[..., Cell]

# A context variable: what another thread runs meanwhile is not observed.
_observer: contextvars.ContextVar[Callable[..., Any] | None] = contextvars.ContextVar("layer_observer", default=None)


@contextlib.contextmanager
def layers_run_by(observer: Callable[..., Any]) -> Iterator[None]:
    """Within the block each layer of each stack is run by `observer(stack, k, cells, x, states, lengths, zoneout)`.

    The instruments of `gateflow.flow` look at layers this way. What the observer returns is what `run_layer` would.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


class Stack(Attributes):
    """Layers of cells on top of each other, each with weights of its own. `Recurrent` and the drop-ins call it.

    The weights are registered here as `weight_ih_l0`, `weight_hh_l0_reverse` and so on. The cells, which hold no
    weights, are bound to them at each pass, so whatever `torch` does to a module's weights is seen by the cells.
    """

    takes_dt: bool = False
    """Whether a cell asks for the time since the step before."""

    def __init__(
        self,
        factories: Sequence[CellFactory],
        input_size: int,
        hidden_sizes: Sequence[int],
        options: Options,
        **placement: Any,
    ):
        nn.Module.__init__(self)  # and not torch's layer's, of which a drop-in is one too
        self.input_size, self.num_layers, self.options = input_size, len(factories), options
        self.bidirectional, self.num_directions = options.bidirectional, 1 + options.bidirectional
        # Lists and no ModuleList: as submodules the cells would add names of their own to `state_dict`
        # and `parameters`.
        self._equations: list[Cell] = []
        self._names: list[list[str]] = []
        self._streams: list[Stream] = []
        skips, size = [], input_size
        for k, (factory, hidden_size) in enumerate(zip(factories, hidden_sizes, strict=True)):
            for suffix in self.suffixes(k):
                self._adopt(_built(factory, size, hidden_size, bias=options.bias, **placement), suffix)
            given, size = size, self._merged_size(self._equations[-1], last=k == len(factories) - 1)
            skips += [SKIPS[options.skip](given, size, **placement)] if options.skip else []
        self.output_size = size
        if options.skip:
            self.skips = nn.ModuleList(skips)
        self._check_options(options)

    @property
    def cells(self) -> list[Cell]:
        """The cells over their weights, lowest layer first, forward before reverse; changing them changes it."""
        suffixes = [suffix for k in range(self.num_layers) for suffix in self.suffixes(k)]
        views = [cell for k in range(self.num_layers) for cell in self.layer_cells(k)]
        for view, suffix in zip(views, suffixes, strict=True):
            view.belongs_to(self, suffix)
        return views

    def layer_cells(self, k: int) -> tuple[Cell, ...]:
        """The cells of layer `k`, one per direction, over their weights as they are now."""
        D, own, views = self.num_directions, self._parameters, []
        for cell, names in zip(self._layer_equations(k), self._names[k * D : (k + 1) * D], strict=True):
            # Past `getattr`, which takes a microsecond for each, where a weight is not computed.
            weights: list[Any] = [own[name] if name in own else getattr(self, name) for name in names]
            views.append(cell.over(dict(zip(cell._parameters, weights, strict=True))))
        return tuple(views)

    def choices(self, x: Tensor | None = None) -> list[tuple[str, Choice]]:
        """The cell and the path of each layer for input such as `x`; `recurrence.explain` prints them."""
        like = (next(self.parameters()) if x is None else x).data  # a PackedSequence has data as well
        firsts = (self._layer_equations(k)[0] for k in range(self.num_layers))
        place = {"device": like.device, "dtype": like.dtype}
        return [(type(cell).__name__, choose(cell, zoneout=self._zones_out(cell), **place)) for cell in firsts]

    def initial_state(self, x: Tensor) -> list[State]:
        """The state to start from for `x [T, B, I]`: zeros, or what was learned."""
        zeros = [cell.initial_state(x) for cell in self._equations]
        if not self.options.learn_initial_state:
            return zeros
        suffixes = [suffix for k in range(self.num_layers) for suffix in self.suffixes(k)]
        return [
            tuple(getattr(self, f"initial_{n}{suffix}").expand_as(z) for n, z in zip(cell.states, zero, strict=True))
            for cell, suffix, zero in zip(self._equations, suffixes, zeros, strict=True)
        ]

    def run(
        self,
        x: Tensor,
        state: Sequence[State],
        lengths: Tensor | None,
        resets: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> tuple[list[Tensor], list[State]]:
        """Runs all layers over time.

        Args:
            x: input `[T, B, I]`, zero where a row has ended.
            state: per layer and direction, layer by layer, one `[B, size]` per part of the state.
            lengths: `[B]` or none.
            resets: `[T, B]`, true where a new episode begins, or none.
            dt: `[T, B, 1]`, the time since the step before, for cells that take it; 1 if not given.

        Returns:
            The output of the last layer, `[T, B, output_size]` (one per direction if `merge` is None), and the state
            after the last step of each row, in the order of `state`.
        """
        D = self.num_directions
        if resets is not None and leaves_python():
            raise ExportError(
                "`resets` cannot be exported: their number decides the sizes of tensors; export single steps, and give "
                "the rows that begin an episode a fresh state"
            )
        # Weights are frozen for `step` alone.
        if x.shape[0] == 1 and lengths is None and resets is None and not self._streams[0].frozen:
            taken = self._one_step(x[0], state, None if dt is None else dt[0])
            if taken is not None:
                y, finals = taken
                # The output is memory of its own, which the user may change.
                return [y.clone()[None]], finals
        if resets is not None and resets.numel():  # none begins in an empty batch
            # Episodes as rows: then no path and no option needs to know of resets.
            episodes = Episodes.of_resets(resets, lengths)
            rows = episodes.split(x)
            starts = episodes.starts(state, self.initial_state(rows), D)
            ys, last = self.run(rows, starts, episodes.lengths, dt=None if dt is None else episodes.split(dt))
            return [episodes.joined(y) for y in ys], episodes.finals(last, D)
        outputs, finals = [x], []
        elapsed = self._elapsed(x, dt, lengths) if self.takes_dt else None
        for k in range(self.num_layers):
            if k > 0:
                x = self._between_layers(x)
            row = x if elapsed is None else self._with_elapsed(k, x, elapsed)
            ys, final = self._run_layer(k, row, tuple(state[k * D : (k + 1) * D]), lengths)
            outputs = self._merge(ys, last=k == self.num_layers - 1)
            if self.options.skip:
                outputs = [self.skips[k](x, outputs[0])]
            x, finals = outputs[0], finals + final
        return outputs, finals

    @contextlib.contextmanager
    def streaming(self) -> Iterator[Self]:
        """Within the block the weights are frozen for `step`: it keeps them as the kernels read them, and is faster.

        Changes that torch counts (by optimizers that are not fused, `load_state_dict`, `mul_` under `no_grad`) and
        attributes of the cells that are set are noticed all the same. What it does not count is not seen until the
        block ends: changes by fused optimizers, through `weight.data`, numpy or another process, and of what else a
        step reads, such as globals, classes, or what lies inside of an attribute.

        Example:
            >>> from gateflow import Recurrent
            >>> layer = Recurrent("gru", 3, 4)
            >>> with torch.no_grad(), layer.streaming():
            ...     y, state = layer.step(torch.zeros(1, 3))
            ...     y, state = layer.step(torch.zeros(1, 3), state)
        """
        for stream in self._streams:
            stream.freeze()
        try:
            yield self
        finally:
            for stream in self._streams:
                stream.thaw()

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation, of the cells as well: a step may ask for `self.training`."""
        super().train(mode)
        for cell in self._equations:
            cell.train(mode)
        return self

    def _elapsed(self, x: Tensor, dt: Tensor | None, lengths: Tensor | None) -> Tensor:
        """The time since the step before, for each direction in its own order of steps: `[T, B, directions]`."""
        dt = x.new_ones(*x.shape[:-1], 1) if dt is None else dt
        if not self.bidirectional:
            return dt
        # From right to left the step before is the next one; before the last step there is none.
        after = torch.cat([dt[1:], dt.new_zeros(1, *dt.shape[1:])])
        if lengths is not None:
            last = torch.arange(x.shape[0], device=x.device)[:, None] >= lengths - 1
            after = torch.where(last[:, :, None], 0.0, after)
        return torch.cat([dt, after], -1)

    def _with_elapsed(self, k: int, x: Tensor, elapsed: Tensor) -> Tensor:
        """The input of a layer, with the elapsed times behind it if its cells take them."""
        return torch.cat([x, elapsed], -1) if self._layer_equations(k)[0].takes_dt else x

    def run_step(self, x: Tensor, state: Sequence[State], dt: Tensor | None = None) -> tuple[Tensor, list[State]]:
        """One time step of all layers, `x [B, I]`; where no gradient is wanted, with little but the kernels."""
        taken = self._one_step(x, state, dt)
        if taken is not None:
            return taken
        outputs, finals = self.run(x[None], state, None, dt=None if dt is None else dt[None])
        return outputs[0][0], finals

    def _one_step(
        self, x: Tensor, state: Sequence[State], dt: Tensor | None = None
    ) -> tuple[Tensor, list[State]] | None:
        """One time step by kernels alone, prepared if need be; none where there is more to a step than that."""
        if not self._streams_now():
            return None
        # Kernels read rows that lie whole; a learned initial state is expanded, `x[:, t]` of a
        # batch-first batch has gaps.
        state = [tuple([part.contiguous() for part in parts]) for parts in state]
        taken = self.streamed(x, state, dt)
        if taken is None and self._prepare_streams(x, state):
            taken = self.streamed(x, state, dt)
        return taken

    def streamed(
        self, x: Tensor, state: Sequence[State], dt: Tensor | None = None
    ) -> tuple[Tensor, list[State]] | None:
        """One time step by what is prepared for such tensors; none where they do not fit, for whatever reason."""
        if len(state) != len(self._streams) or not self._streams_now():
            return None
        # Past `getattr`, which takes a microsecond for each; a computed weight is not there, hence the KeyError.
        named: Any = self._parameters.__getitem__
        y, finals = x, []
        try:
            for k, stream in enumerate(self._streams):
                row = self._with_elapsed(k, y, y.new_ones(len(y), 1) if dt is None else dt) if self.takes_dt else y
                new = stream.step([*map(named, self._names[k])], row, state[k])
                if new is None:
                    return None
                y = self.skips[k](y, new[0]) if self.options.skip else new[0]
                finals.append(new)
        except KeyError:  # a weight that is computed, as by `torch.nn.utils.parametrize`
            return None
        return y, finals

    def _prepare_streams(self, x: Tensor, state: Sequence[State]) -> bool:
        """Whether every layer's weights are parameters that its kernel can take."""
        for stream, names, parts in zip(self._streams, self._names, state, strict=True):
            weights = [w for name in names if (w := self._parameters.get(name)) is not None]
            y = x.new_empty(x.shape[0], stream.cell.row_size)
            if len(weights) < len(names) or not stream.prepare(weights, y, parts):
                return False
        return True

    def _streams_now(self) -> bool:
        """Whether a step is nothing but the cells' equations, and nobody watches."""
        options = self.options
        # Dropout between layers and zoneout are left to `run`: what streams is the equations alone.
        if self.bidirectional or options.zones_out or (self.training and options.drops):
            return False
        return streams_now() and _observer.get() is None

    def _run_layer(self, k: int, x: Tensor, states: tuple[State, ...], lengths: Tensor | None) -> Any:
        cells, options, zoneout = self.layer_cells(k), self.options, None
        # Dropped weights are drawn once per pass and not per step: one network reads the whole sequence.
        if self.training and options.weight_dropout:
            cells = tuple(drop_recurrent_weights(cell, options.weight_dropout) for cell in cells)
        if self._zones_out(cells[0]):
            zoneout = tuple(zoneout_masks(cell, x, self._zoneout_rates(cell), self.training) for cell in cells)
        # What leaves Python has loops that know lengths.
        masked = torch.compiler.is_compiling() and not leaves_python()
        if lengths is not None and masked and x.device.type == "cpu":
            zoneout, x, lengths = _standing_still(cells, x, lengths, zoneout), filled(x, lengths), None
        # A compiled graph must not hold an observer that is there for one call.
        observer = None if torch.compiler.is_compiling() else _observer.get()
        if observer is not None:
            return observer(self, k, cells, x, states, lengths, zoneout)
        return run_layer(cells, x, states, lengths, zoneout=zoneout, memory=options.memory, strict=options.strict)

    def _between_layers(self, x: Tensor) -> Tensor:
        x = F.dropout(x, self.options.dropout, self.training)
        if self.training and self.options.variational_dropout:
            return LockedDropout(self.options.variational_dropout)(x)
        return x

    def _merge(self, ys: list[Tensor], last: bool) -> list[Tensor]:
        if len(ys) == 1 or (last and self.options.merge is None):
            return ys
        return [MERGES[self.options.merge or "concat"](*ys)]

    def _merged_size(self, cell: Cell, last: bool) -> int:
        # Between layers there is one input, so `merge=None` concatenates there and leaves two outputs at the top only.
        doubled = self.bidirectional and (self.options.merge == "concat" or (self.options.merge is None and not last))
        return cell.output_size * (1 + doubled)

    def _adopt(self, cell: Cell, suffix: str) -> None:
        """Takes over a cell's weights under torch's names; what stays with the cell is their names alone."""
        for name, weight in list(cell._parameters.items()):
            self.register_parameter(name + suffix, weight)
            # The name stays: `over` learns from it which weights the equations ask for.
            cell._parameters[name] = None
        if self.options.learn_initial_state:
            like = getattr(self, "weight_ih" + suffix)
            for name, size in cell.state_sizes.items():
                self.register_parameter(f"initial_{name}{suffix}", nn.Parameter(like.new_zeros(size)))
        if cell.takes_dt and self.bidirectional:
            cell._dt_columns, cell._dt_column = 2, int(suffix.endswith("_reverse"))
        self._names.append([name + suffix for name in cell._parameters])
        for zoneout in (False, True):  # the second for sequences with lengths, too, under `torch.compile`
            prepare(cell, zoneout=zoneout)
        self._equations.append(cell)
        if cell.takes_dt:
            vars(self)["takes_dt"] = True
        self._streams.append(Stream(cell))

    def _layer_equations(self, k: int) -> list[Cell]:
        return self._equations[k * self.num_directions : (k + 1) * self.num_directions]

    def suffixes(self, k: int) -> list[str]:
        """What the names of the weights of layer `k` end in, per direction, as in `weight_ih_l0_reverse`."""
        return [f"_l{k}", f"_l{k}_reverse"][: self.num_directions]

    def _zoneout_rates(self, cell: Cell) -> tuple[float, ...]:
        z = self.options.zoneout
        return tuple(z) if isinstance(z, Sequence) else (z,) * len(cell.states)

    def _zones_out(self, cell: Cell) -> bool:
        return any(self._zoneout_rates(cell))

    def _check_options(self, options: Options) -> None:
        if options.merge is None and options.skip and options.bidirectional:
            raise ConfigError(f"skip={options.skip!r} needs one output per layer, merge=None gives two; choose a merge")
        rates = options.zoneout
        if not isinstance(rates, Sequence):
            return
        for cell in self._equations:
            if len(rates) != len(cell.states):
                raise ConfigError(
                    f"zoneout has {len(rates)} rates, the states of {type(cell).__name__} are {cell.states}; give one "
                    "rate, or one for each"
                )

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and copies: plain things and weights; see `saved`."""
        return saved.plain_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The layer again, its cells prepared as when it was built."""
        nn.Module.__setstate__(self, saved.with_cells(state))
        self._streams = [Stream(cell) for cell in self._equations]
        for cell, zoneout in itertools.product(self._equations, (False, True)):
            prepare(cell, zoneout=zoneout)

    def reset_parameters(self) -> None:
        """Draws all weights of the cells again, as at construction; one that is computed by way of what computes it."""
        draft, suffixes = Draft(), [s for k in range(self.num_layers) for s in self.suffixes(k)]
        for cell, suffix in zip(self._equations, suffixes, strict=True):
            cell.over({name: draft.of(self, name + suffix) for name in cell._parameters}).reset_parameters()
        draft.write()


def _standing_still(
    cells: tuple[Cell, ...], x: Tensor, lengths: Tensor, zoneout: tuple[tuple[Tensor | float, ...], ...] | None
) -> tuple[tuple[Tensor, ...], ...]:
    """Zoneout that keeps all of the state where a row has ended: lengths without a shape that depends on them.

    The masks follow each cell's order of time, which for the reverse direction begins at the end.
    """
    # `where` with a mask of shape [T, B], and no index of the rows that go on: that would have a size no graph knows.
    ended, found = (torch.arange(x.shape[0], device=x.device)[:, None] >= lengths)[:, :, None], []
    for d, cell in enumerate(cells):
        holds = zoneout[d] if zoneout else (0.0,) * len(cell.states)
        there = ended.flip(0) if d else ended
        shapes = ((*x.shape[:2], size) for size in cell.state_sizes.values())
        kept = (torch.where(there, x.new_ones(()), hold) for hold in holds)
        found.append(tuple(part.to(x.dtype).expand(shape) for part, shape in zip(kept, shapes, strict=True)))
    return tuple(found)


def _checked_cell(made: Any, factory: CellFactory) -> Cell:
    if not isinstance(made, Cell):
        raise ConfigError(
            f"{factory!r} makes no Cell but {type(made).__name__}; give a name such as 'lstm' (`gateflow cells` lists "
            "them), a Cell subclass or a function that builds one"
        )
    return made


def _built(factory: CellFactory, *sizes: int, dtype: Any = None, device: Any = None, **options: Any) -> Cell:
    """A cell, whose step is tried with gradients even where `torch.inference_mode` has turned them off."""
    with torch.inference_mode(False), torch.enable_grad():
        if dtype is None or not dtype.is_complex:
            return _checked_cell(factory(*sizes, dtype=dtype, device=device, **options), factory)
        cell = factory(*sizes, device="meta", **options)  # tried in real numbers
        for name, weight in list(cell.named_parameters()):
            setattr(cell, name, nn.Parameter(torch.empty(weight.shape, dtype=dtype, device=device)))
        cell.reset_parameters()
        return cell
