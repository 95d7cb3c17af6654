"""Initial weights by name: ``orthogonal``, ``identity``, ``forget:1``, ``chrono:60``. One table for all who offer them.

A training (``--init chrono:60``), a study (``lstm:chrono``) and the what-if table of a diagnosis read it. It is free of
torch, so that a configuration can be checked without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateflow.cell_names import CELL_NAMES
from gateflow.errors import ConfigError, among

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INITIAL_WEIGHTS", "InitialWeights", "Initialiser", "parted", "with_number"]


@dataclass(frozen=True)
class InitialWeights:
    """One row of the table.

    Attributes:
        name: as it is typed, before the number if it takes one.
        label: what a table calls them.
        function: what draws them, in `gateflow.remedies.init`.
        argument: the name of the function's argument that the number is; none if there is none.
        whole: the number counts something.
        least: the smallest number that it takes.
    """

    name: str
    label: str
    function: str
    argument: str | None = None
    whole: bool = False
    least: float = -math.inf

    def arguments(self, value: float) -> dict[str, float]:
        """What the function is called with besides the model."""
        return {self.argument: int(value) if self.whole else value} if self.argument else {}

    def code(self, value: float = 0.0) -> str:
        """The line that a user writes.

        Example:
            >>> INITIAL_WEIGHTS["chrono"].code(60)
            'gateflow.remedies.init.chrono(model, max_lag=60)'
        """
        words = ["model", *(f"{name}={number}" for name, number in self.arguments(value).items())]
        return f"gateflow.remedies.init.{self.function}({', '.join(words)})"


# By name, in the order in which tables show them: what opens gates, then what shapes the matrices.
INITIAL_WEIGHTS = {
    row.name: row
    for row in (
        InitialWeights("forget", "forget bias 1", "forget_bias", "value"),
        # A lag of 1 leaves nothing to draw from: chrono wants 1 <= min_lag <= max_lag - 1.
        InitialWeights("chrono", "chrono", "chrono", "max_lag", whole=True, least=2),
        InitialWeights("orthogonal", "orthogonal", "orthogonal"),
        InitialWeights("identity", "identity", "identity"),
    )
}


def parted(text: str) -> tuple[str, str | None]:
    """A cell and its initial weights out of ``CELL:WEIGHTS``; a cell of somebody's own, ``module:Class``, is whole.

    Example:
        >>> parted("lstm:chrono:60"), parted("gru"), parted("mine:Cell")
        (('lstm', 'chrono:60'), ('gru', None), ('mine:Cell', None))
    """
    cell, _, weights = text.partition(":")
    return (cell, weights) if weights and cell in CELL_NAMES else (text, None)


def with_number(weights: str, lag: int) -> str:
    """Initial weights as ``--init`` takes them; a number that is left out is how far to remember, or a bias of 1.

    Raises:
        ConfigError: there are none of that name, or they take another number.

    Example:
        >>> [with_number(weights, 60) for weights in ("chrono", "chrono:80", "forget", "identity")]
        ['chrono:60', 'chrono:80', 'forget:1', 'identity']
    """
    row = INITIAL_WEIGHTS.get(weights)
    text = f"{weights}:{max(lag, 2) if row.whole else 1}" if row and row.argument else weights
    try:
        Initialiser.parse(text)
    except ValueError as error:
        raise ConfigError(f"initial weights {weights!r}: {error}.") from None
    return text


class Initialiser(NamedTuple):
    """A name of the table and its number: ``chrono:60`` is chrono initialisation for lags up to 60."""

    name: str
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Initialiser:
        """Read ``NAME`` or ``NAME:NUMBER``.

        Example:
            >>> Initialiser.parse("chrono:60")
            Initialiser(name='chrono', value=60.0)
        """
        name, _, number = text.partition(":")
        if name not in INITIAL_WEIGHTS:
            known = ("orthogonal", "identity", "forget:1", "chrono:60")
            raise ValueError(f"no such initial weights; {among(text, known)}")
        if bool(INITIAL_WEIGHTS[name].argument) != bool(number):
            raise ValueError(f"{name} takes {'a number, as chrono:60 or forget:1' if not number else 'no number'}")
        try:
            value = float(number or 0)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{number!r} is no number; write {name}:60")
        return cls(name, value)

    def apply(self, model: nn.Module) -> None:
        """Overwrite the weights of a model's recurrent layers in place.

        Raises:
            ConfigError: as the function of `gateflow.remedies.init`.
        """
        from gateflow.remedies import init  # here, for it imports torch

        row = INITIAL_WEIGHTS[self.name]
        getattr(init, row.function)(model, **row.arguments(self.value))
