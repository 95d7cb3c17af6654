"""Two steps of one sequence of which the later depends on the earlier: a subject and its verb, for one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Dependency"]


@dataclass(frozen=True)
class Dependency:
    """What a needed lag is about, in the first sequence of a batch; the page of a report marks it.

    Args:
        cause: step at which the network reads what it has to remember.
        effect: step at which the loss enters that depends on it.
        names: what the two are, such as ``("subject", "verb")``.
        token: step at which the effect stands itself; a word that is predicted stands one step after its loss.

    Example:
        >>> pair = Dependency(2, 9, ("subject", "verb"), token=10)
        >>> pair.lag, pair.named
        (7, {2: 'subject', 10: 'verb'})
    """

    cause: int
    effect: int
    names: tuple[str, str] = ("cause", "effect")
    token: int | None = None

    @property
    def lag(self) -> int:
        """Steps that the gradient goes back."""
        return self.effect - self.cause

    @property
    def named(self) -> dict[int, str]:
        """By step, what stands there."""
        return {self.cause: self.names[0], self.effect if self.token is None else self.token: self.names[1]}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
