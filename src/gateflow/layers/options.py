"""What a stack does around its cells: the options, their names, and which values are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError
from gateflow.layers.skip import Highway, Residual

__all__ = ["MEMORY", "MERGES", "SKIPS", "Options"]

MERGES: dict[str | None, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda forward, backward: torch.cat((forward, backward), dim=-1),
    "sum": torch.add,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "mul": torch.mul,
}
MEMORY = ("fast", "lean")
SKIPS: dict[str, Callable[..., nn.Module]] = {"residual": Residual, "highway": Highway}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a stack does around its cells; `Recurrent` documents each."""

    bias: bool = True
    bidirectional: bool = False
    merge: str | None = "concat"
    skip: str | None = None
    dropout: float = 0.0
    variational_dropout: float = 0.0
    weight_dropout: float = 0.0
    zoneout: float | Sequence[float] = 0.0
    learn_initial_state: bool = False
    memory: str = "fast"
    strict: bool = False

    # Asked at each single step, where Python is most of the time; the options never change, they are replaced.
    @cached_property
    def drops(self) -> bool:
        """Whether anything is dropped in training, apart from zoneout."""
        return bool(self.dropout or self.variational_dropout or self.weight_dropout)

    @cached_property
    def zones_out(self) -> bool:
        """Whether any part of the old state may stay, in training or in expectation."""
        return any(self.zoneout) if isinstance(self.zoneout, Sequence) else bool(self.zoneout)

    def __post_init__(self) -> None:
        rates = [(n, getattr(self, n)) for n in ("dropout", "variational_dropout", "weight_dropout")]
        rates += [("zoneout", z) for z in (self.zoneout if isinstance(self.zoneout, Sequence) else [self.zoneout])]
        for name, rate in rates:
            # `dropout=True` would be the probability 1.
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise ConfigError(f"{name} must be a number between 0 and 1, a probability; found {rate!r}")
        if self.merge not in (*MERGES, None):
            raise ConfigError(f"merge must be one of {', '.join(map(repr, MERGES))} or None; found {self.merge!r}")
        if self.skip not in (*SKIPS, None):
            raise ConfigError(f"skip must be one of {', '.join(map(repr, SKIPS))} or None; found {self.skip!r}")
        if self.memory not in MEMORY:
            raise ConfigError(f"memory must be one of {', '.join(map(repr, MEMORY))}; found {self.memory!r}")
