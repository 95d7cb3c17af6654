"""The same batch under other initial weights, measured without training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from gateflow.errors import ConfigError, FlowError, NonFiniteError
from gateflow.flow.capture import Loss, Trace, trace_model, unchanged_buffers, unchanged_random_state
from gateflow.flow.gates import Gates, gates_of
from gateflow.flow.reach import Reach, reach_of
from gateflow.flow.sampling import Sampling
from gateflow.flow.table import Printable, Share, columns, plain
from gateflow.layers import cells_in, cells_to_change
from gateflow.remedies.initial_weights import INITIAL_WEIGHTS, Initialiser

__all__ = ["WhatIf", "WhatIfRow", "what_if", "what_if_of"]

# Steps whose gradients are followed, for each set of weights:
# the table compares horizons, for which a sample will do.
_TARGETS = 16


@dataclass(frozen=True)
class WhatIfRow:
    """One set of initial weights.

    Attributes:
        name: such as `"chrono"`; the first row is `"as it is"`.
        code: the line that sets these weights.
        horizon: the farthest horizon of any layer.
        left: the largest `ρ(lag)` of any layer, at the lag of the table.
        saturated: the largest share of a tanh beyond ±0.95 in any layer; NaN without one.
    """

    name: str
    code: str
    horizon: int
    left: Share
    saturated: float


@dataclass(frozen=True)
class WhatIf(Printable):
    """What `what_if` found: rows, the lag at which `left` was read, and the steps that all of them were measured on."""

    lag: int
    rows: tuple[WhatIfRow, ...]
    sampling: Sampling

    def to_dict(self) -> dict[str, Any]:
        """As numbers, for JSON; NaN as None."""
        rows = [asdict(row) | {"left": plain(row.left), "saturated": plain(row.saturated)} for row in self.rows]
        return {"lag": self.lag, "rows": rows, "exact": self.sampling.exact}

    def __rich__(self) -> Any:
        table = columns(
            "What if it began with other weights? Same batch, no training",
            f"left at {self.lag}: share of the gradient left {self.lag} steps back. saturated: largest share of a tanh "
            f"beyond ±0.95; a long horizon with saturated units does not learn either. {self.sampling}.",
            *("initial weights", "horizon", f"left at {self.lag}", "saturated"),
        )
        for row in self.rows:
            saturated = "" if math.isnan(row.saturated) else f"{row.saturated:.0%}"
            table.add_row(row.name, str(row.horizon), str(row.left), saturated)
        return table


def what_if(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    needed_lag: int | None = None,
    seed: int = 0,
    memory_limit: int | None = None,
) -> WhatIf | None:
    """Horizon, reach and saturation on this batch, as the model is and under other initial weights of its cells.

    Default, forget bias 1, chrono, orthogonal and identity, where they apply to the cells. Each is drawn again from
    `seed`; all other weights stay. The model's own parameters are set aside and put back, the same objects with the
    same bits, whatever happens.

    Args:
        model, batch, loss, seed, memory_limit: as for `reach`.
        needed_lag: the lag at which reach is read, and chrono's longest; the longest in the batch by default.

    Returns:
        The table, or none if the recurrent weights cannot be exchanged: parametrized ones, and torch's single cells.

    Raises:
        FlowError, NonFiniteError: as `reach`.

    Source: Tallec, Ollivier (2018). arXiv:1804.11188, and the others that `remedies.init` names. That reach at the
    start foretells success where all information is far away, and not everywhere, is measured in docs/results.md.

    Example:
        >>> table = what_if(nn.LSTM(3, 8), torch.randn(30, 2, 3), needed_lag=20)
        >>> [row.name for row in table.rows]
        ['as it is', 'default', 'forget bias 1', 'chrono', 'orthogonal']
    """
    if not _exchangeable(model):
        return None
    with unchanged_buffers(model):
        now = trace_model(model, batch, loss, seed)
        return what_if_of(now, model, batch, loss, needed_lag=needed_lag, seed=seed, memory_limit=memory_limit)


def what_if_of(
    now: Trace,
    model: nn.Module,
    batch: Any,
    loss: Loss | None,
    *,
    needed_lag: int | None,
    seed: int,
    memory_limit: int | None,
) -> WhatIf | None:
    """`what_if`, with a trace of the model as it is; each set of other weights is traced here."""
    if not _exchangeable(model):
        return None

    options: dict[str, Any] = {"targets": _TARGETS, "seed": seed, "memory_limit": memory_limit}
    found = reach_of(now, **options)
    longest = max(len(layer.decay.values) - 1 for layer in found.layers.values())
    lag = min(needed_lag or longest, longest)
    rows = [_row("as it is", "", lag, found, gates_of(now))]
    for name, code, change in _changes(needed_lag or longest):
        # What does not apply to these cells is refused, and what diverges is not finite: neither has a row.
        with _other_weights(model), contextlib.suppress(ConfigError, FlowError, NonFiniteError):
            _draw(model, change, seed)
            trace = trace_model(model, batch, loss, seed)
            rows.append(_row(name, code, lag, reach_of(trace, **options), gates_of(trace)))
    return WhatIf(lag, tuple(rows), found.sampling)


def _exchangeable(model: nn.Module) -> bool:
    """Whether all recurrent weights are parameters that can be set aside."""
    owners = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    if any(parametrize.is_parametrized(module) for module in owners):
        return False
    try:
        cells_in(model)
    except ConfigError:
        return False
    return True


def _changes(lag: int) -> list[tuple[str, str, Callable[[nn.Module], None]]]:
    """Name, code, and what is done after the default weights have been drawn."""
    found: list[tuple[str, str, Callable[[nn.Module], None]]] = [
        ("default", "layer.reset_parameters()", lambda model: None)
    ]
    for row in INITIAL_WEIGHTS.values():
        value = float(lag) if row.whole else 1.0
        if value >= row.least:
            found.append((row.label, row.code(value), Initialiser(row.name, value).apply))
    return found


def _draw(model: nn.Module, change: Callable[[nn.Module], None], seed: int) -> None:
    # Each set from the same random numbers, so that two rows differ by the recipe and not by the draw.
    with unchanged_random_state(model):
        torch.manual_seed(seed)
        with cells_to_change(model) as found:
            for cell in found.values():
                cell.reset_parameters()
        change(model)


@contextlib.contextmanager
def _other_weights(model: nn.Module) -> Iterator[None]:
    """Within the block every parameter is a copy; after it the model has its own again."""
    # By module and name, and not by `named_parameters`: a shared
    # weight has several places, and one copy for all of them.
    own = [(m, name, w) for m in model.modules() for name, w in m._parameters.items() if w is not None]
    copies = {w: nn.Parameter(w.detach().clone(), w.requires_grad) for _, _, w in own}
    try:
        for module, name, weight in own:
            setattr(module, name, copies[weight])
        yield
    finally:
        for module, name, weight in own:
            setattr(module, name, weight)


def _row(name: str, code: str, lag: int, found: Reach, openness: Gates) -> WhatIfRow:
    left = [layer.left_at(lag) for layer in found.layers.values()]
    seen = (a for layer in openness.layers.values() for a in layer.activations.values())
    tanhs = [a.high for a in seen if a.kind == "tanh"]
    worst = max((x for x in left if not math.isnan(x)), default=Share(math.nan))
    return WhatIfRow(name, code, found.horizon, worst, max(tanhs, default=math.nan))
