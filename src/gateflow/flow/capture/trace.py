"""One run of a model on a batch: its recurrent layers replayed, and where the loss enters them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow.errors import FlowError, NonFiniteError
from gateflow.flow.capture.probe import probed, tensors_in
from gateflow.flow.capture.replay import Replay, State
from gateflow.flow.capture.unchanged import unchanged_random_state, without_inner_dropout

__all__ = ["Loss", "Trace", "evaluate", "trace_model"]

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(eq=False)
class Trace:
    """What one run left behind: all that an instrument needs. `diagnose` runs the model once and hands this to each.

    Attributes:
        replays: each cell's run over consecutive steps, in the order in which they ran.
        entries: for each replay, the gradient that enters its states after each step straight from the loss (not by way
            of later steps or other recurrent layers), `[T, B, size]` per part.
        loss: what was differentiated.
    """

    replays: list[Replay]
    entries: list[State]
    loss: float

    @property
    def times(self) -> int:
        """Number of time steps of the longest sequence."""
        return max(p.offset + p.steps for p in self.replays)

    @property
    def sequences(self) -> dict[str, list[Replay]]:
        """The replays of each sequence that a cell went through, by title."""
        found: dict[str, list[Replay]] = {}
        for replay in self.replays:
            found.setdefault(replay.title, []).append(replay)
        return found

    def targets(self) -> list[int]:
        """The time steps at which some of the loss enters."""
        found: set[int] = set()
        for replay, entry in zip(self.replays, self.entries, strict=True):
            touched = torch.stack([part.abs().amax(-1) for part in entry]).amax(0) > 0
            found.update(replay.time(p) for p in (touched & replay.there()).any(1).nonzero()[:, 0].tolist())
        return sorted(found)


def trace_model(model: nn.Module, batch: Any, loss: Loss | None = None, seed: int = 0) -> Trace:
    """Runs `model` on `batch` as it stands (train or eval mode), without touching weights, gradients or generators.

    Raises:
        FlowError: no recurrent layer ran, no row has a step, sequences of one step, or a loss that does not depend on
            the recurrent layers.
        NonFiniteError: weights or the loss are NaN or infinite.
    """
    _refuse_non_finite(model)
    with unchanged_random_state(model), torch.enable_grad(), probed(model) as replays:
        total = evaluate(model, batch, loss, seed)
    _refuse_nothing(model, replays)
    if not bool(total.isfinite()):
        raise NonFiniteError(f"the loss on this batch is {total.item()}: look for NaN or infinity in the batch")
    # One backward pass through the model above and between its layers. It ends at the
    # leaves, so what arrives there has come by no later step and no other recurrent
    # layer: those ways are the sweep's. The graph stays, for the sweep uses it again.
    leaves = [leaf for replay in replays for leaf in (replay.y, *replay.final)]
    grads = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True) if total.requires_grad else ()
    if all(g is None for g in grads):
        raise FlowError(
            "the loss does not depend on any recurrent layer of the model: was an output detached, computed under "
            "torch.no_grad(), or by cell.step() instead of cell()?"
        )
    found = iter(grads)
    entries = [_entry(replay, next(found), [next(found) for _ in replay.final]) for replay in replays]
    return Trace(replays, entries, total.item())


def evaluate(model: nn.Module, batch: Any, loss: Loss | None, seed: int) -> Tensor:
    """The loss as one number: what `loss(model, batch)` returns, summed; or the output in random directions.

    What `torch.compile` has compiled runs as it is written: the instruments look into layers while they run.
    """
    with torch.compiler.set_stance("force_eager"), without_inner_dropout(model):
        return _evaluated(model, batch, loss, seed)


def _evaluated(model: nn.Module, batch: Any, loss: Loss | None, seed: int) -> Tensor:
    if loss is not None:
        value = loss(model, batch)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise FlowError(f"loss(model, batch) must return a tensor of floats, found {value!r:.100}")
        return value.sum()
    output = next(tensors_in(_call(model, batch)), None)
    if output is None:
        raise FlowError(f"{type(model).__name__} returned no tensor of floats; give loss=lambda model, batch: …")
    # A sum of outputs would be blind to what cancels in it (a softmax, a layer norm);
    # a random direction is not. Drawn by a generator of its own on the CPU, so that
    # it is the same on every device and costs the model's dropout no random number.
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (output * direction.to(output)).sum()


def _call(model: nn.Module, batch: Any) -> Any:
    """`model(batch)`, `model(*batch)` or `model(**batch)`, as the batch is a tensor, a tuple or a dictionary."""
    # A packed sequence is a named tuple, and one argument all the same.
    args = tuple(batch) if isinstance(batch, list | tuple) and not isinstance(batch, PackedSequence) else (batch,)
    args, kwargs = ((), dict(batch)) if isinstance(batch, dict) else (args, {})
    # Asked before the call, so that a TypeError of the model's own code keeps its traceback.
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise FlowError(
            f"{type(model).__name__} cannot be called with this batch ({error}); without a loss the batch is what the "
            "model takes: leave the targets out, or give loss=lambda model, batch: …"
        ) from error
    return model(*args, **kwargs)


def _entry(replay: Replay, to_y: Tensor | None, to_final: list[Tensor | None]) -> State:
    """Gradients of outputs and final state, by the step after which each enters; a row's final state is its last."""
    entry = tuple(torch.zeros_like(part[1:]) for part in replay.states)
    if to_y is not None:
        entry[0].add_(to_y)
    # A final state is the state after the last step that a row
    # has: index -1 stands for a row of length 0, which has none.
    step = torch.arange(replay.steps, device=replay.x.device)[:, None]
    rows = torch.arange(replay.rows, device=replay.x.device)
    last = torch.where(replay.there(), step, -1).amax(0)
    for part, g in zip(entry, to_final, strict=True):
        if g is not None:
            part[last, rows] += torch.where((last >= 0)[:, None], g, 0.0)
    return entry


def _refuse_nothing(model: nn.Module, replays: list[Replay]) -> None:
    if not replays:
        raise FlowError(
            f"no recurrent layer of {type(model).__name__} ran on this batch; gateflow's layers and cells are looked "
            "for, and torch.nn.RNN, GRU, LSTM and their cells (called as modules, not by their functions)"
        )
    if not any(bool(replay.there().any()) for replay in replays):
        raise FlowError("every row of the batch is padding: all lengths are 0")
    if all(replay.offset + replay.steps == 1 for replay in replays):
        raise FlowError("the sequences have one step: there is no earlier step that a gradient could reach")


def _refuse_non_finite(model: nn.Module) -> None:
    bad = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if bad:
        raise NonFiniteError(f"weights hold NaN or infinity: {', '.join(bad[:5])}; load a checkpoint from before")
