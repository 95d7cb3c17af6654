"""Looks into a model while it runs: each recurrent layer is replayed step by step, checked, and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow.cells import Cell
from gateflow.errors import FlowError, NonFiniteError
from gateflow.flow.capture.replay import Change, Hold, Replay, State, replay_cell
from gateflow.flow.capture.torch_equivalents import equivalent_cell, equivalent_layer
from gateflow.layers import is_torchs, module_names
from gateflow.layers.stack import Stack, layers_run_by
from gateflow.recurrence import reverse, run_layer

__all__ = ["layer_name", "leaves_behind", "probed", "tensors_in"]

# How far a replay may be from the model's own run, relative to its largest
# value: other kernels, other rounding. Over some hundred steps that is a hundred
# times the rounding of one; 16-bit types, which are not in the table, get 5e-2.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


class _Probe:
    """Replays what runs and hands its leaves on, so that the model's graph falls into pieces between the layers."""

    def __init__(self, model: nn.Module, change: Change | None = None):
        self.change = change
        self.names = module_names(model)
        self.equivalents: set[nn.Module] = set()
        self.replays: list[Replay] = []

    def layer(
        self, stack: Stack, k: int, cell: tuple[Cell, ...], x: Tensor, start: Any, lengths: Any, zoneout: Any
    ) -> tuple[list[Tensor], list[State]]:
        """Stands in for `run_layer`: one replay per direction."""
        # An equivalent of torch's layer stands for what has
        # run already; its output is compared in `torch_layer`.
        alone = self.change is not None or stack in self.equivalents
        own = None if alone else _as_usual(cell, x, start, lengths, zoneout)
        valid = None if lengths is None else (torch.arange(len(x), device=x.device)[:, None] < lengths)[..., None]
        ys, finals = [], []
        for d, suffix in enumerate(stack.suffixes(k)):
            name, hold = layer_name(self.names.get(stack, ""), suffix), zoneout[d] if zoneout else None
            # The reverse direction is replayed over time turned
            # around, so that step 0 is the first that it processes.
            if d:
                there, held = None if valid is None else valid.flip(0), _flipped(hold, lengths)
                options: dict[str, Any] = {"valid": there, "hold": held, "reversed": True}
            else:
                options = {"valid": valid, "hold": hold}
            replay = replay_cell(name, cell[d], x.flip(0) if d else x, start[d], change=self.change, **options)
            self.keep(replay)
            # Zeros beyond a row's end, as the layer itself returns;
            # the leaf below them is the state that stands still.
            y = replay.y if replay.valid is None else torch.where(replay.valid, replay.y, 0.0)
            ys.append(y.flip(0) if d else y)
            finals.append(replay.final)
            if own is not None:
                _compare(name, own[d], ys[d])
        return ys, finals

    def keep(self, replay: Replay) -> None:
        """Adds a replay; the sequence of its cell may go on with it."""
        _go_on(replay, self.replays)
        self.replays.append(replay)

    def torch_layer(self, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook of `torch.nn.RNN`, `GRU`, `LSTM`: an equivalent of ours computes the output over its weights."""
        equivalent = equivalent_layer(module)
        self.names[equivalent] = self.names[module]
        self.equivalents.add(equivalent)
        # The observer hands its layers to `layer` above; the
        # call adds what torch's own layer does around them.
        weights = {name: getattr(module, name) for name, _ in equivalent.named_parameters()}
        replayed = torch.func.functional_call(equivalent, weights, args, kwargs)
        if self.change is None:
            _compare(self.names[module] or type(module).__name__, next(tensors_in(output)), next(tensors_in(replayed)))
        return replayed

    def torch_cell(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook of `torch.nn.RNNCell`, `GRUCell` and `LSTMCell`, called in a loop of the user's own."""
        x, hx = _arguments(args, kwargs, "input", "hx")
        state = hx if isinstance(hx, tuple) else None if hx is None else (hx,)
        final = self._one_step(module, equivalent_cell(module), x, state, next(tensors_in(output)))
        return final if isinstance(module, nn.LSTMCell) else final[0]

    def own_cell(self, cell: Cell, args: tuple[Any, ...], kwargs: dict[str, Any], output: State) -> State:
        """Forward hook of a `gateflow` cell, called in a loop of the user's own."""
        x, state = _arguments(args, kwargs, "x", "state")
        return self._one_step(cell, cell, x, state, output[0])

    def _one_step(self, module: nn.Module, cell: Cell, x: Tensor, state: State | None, own: Tensor) -> State:
        batched = x.dim() == 2
        rows = x if batched else x[None]
        parts = cell.initial_state(rows) if state is None else tuple(s if batched else s[None] for s in state)
        name = self.names[module] or type(module).__name__
        if self.change is not None:
            raise FlowError(f"{name} is called in a loop of the model's own, in which its steps cannot be changed")
        replay = replay_cell(name, cell, rows[None], parts)
        self.keep(replay)
        # The new hidden state is the output as well: one leaf stands for both.
        final = (replay.y[0], *replay.final[1:])
        final = final if batched else tuple(part[0] for part in final)
        _compare(name, own, final[0])
        return final


@contextlib.contextmanager
def probed(model: nn.Module, change: Change | None = None) -> Iterator[list[Replay]]:
    """Within the block whatever recurrent layer of `model` runs is kept as replays, lowest first.

    With `change` layers take the steps that it makes, and the model goes on with what comes of them.

    Raises:
        FlowError: a replay differs from what the model computed itself.
    """
    probe, hooks = _Probe(model, change), contextlib.ExitStack()
    with hooks, layers_run_by(probe.layer):
        for module in model.modules():
            hook = _hook_of(probe, module)
            if hook is not None:
                hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield probe.replays


def layer_name(module: str, suffix: str) -> str:
    """The name of a layer and direction: `"encoder"` and `"_l0_reverse"` to `"encoder.l0_reverse"`."""
    return ".".join(part for part in (module, suffix.lstrip("_")) if part)


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The floating tensors of whatever a model returns, in order: tuples, lists, mappings and packed sequences."""
    if isinstance(output, PackedSequence):
        yield output.data
    elif isinstance(output, Tensor):
        yield from [output] if output.is_floating_point() else []
    elif isinstance(output, list | tuple | dict):
        for part in output.values() if isinstance(output, dict) else output:
            yield from tensors_in(part)


@torch.no_grad()
def _as_usual(cell: tuple[Cell, ...], x: Tensor, start: Any, lengths: Any, zoneout: Any) -> list[Tensor]:
    return run_layer(cell, x, start, lengths, zoneout=zoneout)[0]


def _flipped(hold: Hold, lengths: Tensor | None) -> Hold:
    """Zoneout masks of a reverse direction, whose first step is each row's last, in the order of time turned around."""
    return hold and tuple(reverse(h, lengths).flip(0) if isinstance(h, Tensor) else h for h in hold)


def _hook_of(probe: _Probe, module: nn.Module) -> Any:
    if is_torchs(module):
        return probe.torch_layer
    if isinstance(module, nn.RNNCell | nn.GRUCell | nn.LSTMCell):
        return probe.torch_cell
    return probe.own_cell if isinstance(module, Cell) else None


def leaves_behind(tensors: Iterable[Tensor]) -> set[Tensor]:
    """The leaves that tensors were computed from: weights, and outputs and final states of earlier replays."""
    found = {t for t in tensors if t.is_leaf and t.requires_grad}
    # A list of what waits, and no recursion: the graph of a
    # loop over a thousand steps is deeper than Python's stack.
    waiting, seen = [t.grad_fn for t in tensors], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of an AccumulateGrad node, where autograd's graph ends in a leaf
        found |= set() if variable is None else {variable}
        waiting += [behind for behind, _ in node.next_functions]
    return found


def _go_on(replay: Replay, earlier: list[Replay]) -> None:
    """A call whose state comes from an earlier call of the same cell continues its sequence."""
    linked, same = leaves_behind(replay.start), [p for p in earlier if p.name == replay.name and p.rows == replay.rows]
    for previous in reversed(same):  # the latest first: a state is nearly always handed to the very next call
        reached = any(leaf in linked for leaf in (previous.y, *previous.final))
        # Equal numbers without a graph between them: a state
        # that was detached, as truncated back-propagation does.
        if reached or all(torch.equal(a, b.to(a)) for a, b in zip(replay.start, previous.final, strict=True)):
            replay.sequence, replay.offset = previous.sequence, previous.offset + previous.steps
            replay.cut = not reached
            return
    replay.sequence = 1 + max((p.sequence for p in earlier if p.name == replay.name), default=-1)


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> list[Any]:
    given = dict(zip(names, args, strict=False)) | kwargs
    return [given.get(name) for name in names]


@torch.no_grad()
def _compare(name: str, own: Tensor, replayed: Tensor) -> None:
    if not own.numel():
        raise FlowError(
            f"{name} was given no row on this batch, so there is nothing to look at; give it a batch of 1 or more"
        )
    scale, tolerance = max(1.0, float(own.abs().max())), _TOLERANCE.get(own.dtype, 5e-2)
    if not bool(own.isfinite().all()):
        raise NonFiniteError(f"{name} computes NaN or infinity on this batch: look for them in the batch itself")
    # Relative to at least 1: where all outputs are small, what
    # counts is the rounding of the sums that they come from.
    error = float((own - replayed).abs().max()) / scale
    if not error <= tolerance:  # also true for NaN
        raise FlowError(
            f"{name}: the step-by-step replay differs from the model's own output by {error:.1e}, more than "
            f"{tolerance:.0e}, so nothing it says could be trusted. Chaos over many steps is the usual reason: shorten "
            "the sequences, or run the model in float64. Another is a forward pass that draws random numbers of its "
            "own: call model.eval()"
        )
