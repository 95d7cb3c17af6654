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
from gateflow.flow.capture.trace import Loss, unchanged_random_state
from gateflow.flow.gates import Gates, gates
from gateflow.flow.reach import Reach, reach
from gateflow.flow.table import Printable, columns, plain
from gateflow.layers import cells_in, cells_to_change
from gateflow.remedies import init

__all__ = ["WhatIf", "WhatIfRow", "unchanged_buffers", "what_if"]

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
    left: float
    saturated: float


@dataclass(frozen=True)
class WhatIf(Printable):
    """What `what_if` found: rows, and the lag at which `left` was read."""

    lag: int
    rows: tuple[WhatIfRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """As numbers, for JSON; NaN as None."""
        rows = [asdict(row) | {"left": plain(row.left), "saturated": plain(row.saturated)} for row in self.rows]
        return {"lag": self.lag, "rows": rows}

    def __rich__(self) -> Any:
        table = columns(
            "What if it began with other weights? Same batch, no training",
            f"left at {self.lag}: share of the gradient left {self.lag} steps back. saturated: largest share of a tanh "
            "beyond ±0.95; a long horizon with saturated units does not learn either.",
            *("initial weights", "horizon", f"left at {self.lag}", "saturated"),
        )
        for row in self.rows:
            saturated = "" if math.isnan(row.saturated) else f"{row.saturated:.0%}"
            table.add_row(row.name, str(row.horizon), f"{row.left:.0e}", saturated)
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

    Default, forget bias 1, chrono, orthogonal and identity, where they apply to the cells. Each is drawn anew from
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
    start foretells success where all information is far away, and not everywhere, is measured in RESULTS.md.

    Example:
        >>> table = what_if(nn.LSTM(3, 8), torch.randn(30, 2, 3), needed_lag=20)
        >>> [row.name for row in table.rows]
        ['as it is', 'default', 'forget bias 1', 'chrono', 'orthogonal']
    """
    owners = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    if any(parametrize.is_parametrized(module) for module in owners):
        return None
    try:
        cells_in(model)
    except ConfigError:
        return None
    with unchanged_buffers(model):
        return _table(model, batch, loss, needed_lag, seed, memory_limit)


def _table(
    model: nn.Module, batch: Any, loss: Loss | None, needed_lag: int | None, seed: int, memory_limit: int | None
) -> WhatIf:
    options: dict[str, Any] = {"targets": _TARGETS, "seed": seed, "memory_limit": memory_limit}
    now = reach(model, batch, loss, **options)
    longest = max(len(layer.decay.values) - 1 for layer in now.layers.values())
    lag = min(needed_lag or longest, longest)
    rows = [_row("as it is", "", lag, now, gates(model, batch, loss, seed=seed))]
    for name, code, change in _changes(needed_lag or longest):
        with _other_weights(model), contextlib.suppress(ConfigError, FlowError, NonFiniteError):
            _draw(model, change, seed)
            rows.append(_row(name, code, lag, reach(model, batch, loss, **options), gates(model, batch, loss)))
    return WhatIf(lag, tuple(rows))


def _changes(lag: int) -> list[tuple[str, str, Callable[[nn.Module], None]]]:
    """Name, code, and what is done after the default weights have been drawn."""
    found: list[tuple[str, str, Callable[[nn.Module], None]]] = [
        ("default", "layer.reset_parameters()", lambda model: None),
        ("forget bias 1", "gateflow.remedies.init.forget_bias(model, 1.0)", init.forget_bias),
        ("orthogonal", "gateflow.remedies.init.orthogonal(model)", init.orthogonal),
        ("identity", "gateflow.remedies.init.identity(model)", init.identity),
    ]
    if lag >= 2:
        chrono = "chrono", f"gateflow.remedies.init.chrono(model, max_lag={lag})"
        found.insert(2, (*chrono, lambda model: init.chrono(model, max_lag=lag)))
    return found


def _draw(model: nn.Module, change: Callable[[nn.Module], None], seed: int) -> None:
    with unchanged_random_state(model):
        torch.manual_seed(seed)
        with cells_to_change(model) as found:
            for cell in found.values():
                cell.reset_parameters()
        change(model)


@contextlib.contextmanager
def _other_weights(model: nn.Module) -> Iterator[None]:
    """Within the block every parameter is a copy; after it the model has its own again."""
    own = [(m, name, w) for m in model.modules() for name, w in m._parameters.items() if w is not None]
    copies = {w: nn.Parameter(w.detach().clone(), w.requires_grad) for _, _, w in own}
    try:
        for module, name, weight in own:
            setattr(module, name, copies[weight])
        yield
    finally:
        for module, name, weight in own:
            setattr(module, name, weight)


@contextlib.contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """After the block buffers that a run counts on, such as batch norm's averages, are what they were."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


def _row(name: str, code: str, lag: int, found: Reach, openness: Gates) -> WhatIfRow:
    left = [layer.left_at(lag) for layer in found.layers.values()]
    seen = (a for layer in openness.layers.values() for a in layer.activations.values())
    tanhs = [a.high for a in seen if a.kind == "tanh"]
    worst = max((x for x in left if not math.isnan(x)), default=math.nan)
    return WhatIfRow(name, code, found.horizon, worst, max(tanhs, default=math.nan))
