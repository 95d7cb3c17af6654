"""Initial weights asked for by name: ``orthogonal``, ``identity``, ``forget:1``, ``chrono:60``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn


class Initialiser(NamedTuple):
    """An initialiser's name and its number: ``chrono:60`` is chrono initialisation for lags up to 60."""

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
        if name not in ("orthogonal", "identity", "forget", "chrono"):
            raise ValueError("no such initial weights; there are orthogonal, identity, forget:1 and chrono:60")
        if (name in ("forget", "chrono")) != bool(number):
            raise ValueError(f"{name} takes {'a number, as chrono:60 or forget:1' if not number else 'no number'}")
        try:
            return cls(name, float(number or 0))
        except ValueError:
            raise ValueError(f"{number!r} is no number; write {name}:60") from None

    def apply(self, layer: nn.Module) -> None:
        """Overwrite the weights of a recurrent layer in place."""
        from gateflow.remedies import init

        match self.name:
            case "orthogonal":
                init.orthogonal(layer)
            case "identity":
                init.identity(layer)
            case "forget":
                init.forget_bias(layer, value=self.value)
            case "chrono":
                init.chrono(layer, max_lag=int(self.value))
