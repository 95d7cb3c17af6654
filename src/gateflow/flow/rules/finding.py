"""What a rule says about a model: in words, with the numbers it rests on, its source, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gateflow.flow.table import plain

__all__ = ["SEVERITIES", "Finding", "chrono"]

# The worst first: findings are sorted by it, and the first one is `Report.worst`.
SEVERITIES = ("problem", "warning", "healthy")


@dataclass(frozen=True)
class Finding:
    """One thing that `diagnose` found.

    Attributes:
        name: such as `"vanishing"`, `"saturated-gates"` or `"healthy"`.
        severity: `"problem"`: learning what was asked for is out of reach. `"warning"`: it may cost quality or time.
            `"healthy"`: nothing of the kind.
        where: a layer and direction, a weight, or `""` for the whole model.
        says: what was found, in one or two sentences.
        evidence: the numbers it rests on, by name.
        source: where the rule comes from.
        remedy: what to do.
        code: the line of Python, or the flag, that does it.

    Example:
        >>> Finding("dead-units", "warning", "l0", "A fifth is dead.", {"dead": 0.2}, "", "", "").evidence["dead"]
        0.2
    """

    name: str
    severity: str
    where: str
    says: str
    evidence: Mapping[str, float | str]
    source: str
    remedy: str
    code: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON; a number that is not finite as None."""
        evidence = {name: x if isinstance(x, str) else plain(x) for name, x in self.evidence.items()}
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"evidence": evidence}


def chrono(lag: int) -> str:
    """The code of the remedy that most rules come to: memories as long as the task's lags."""
    longest = max(lag, 2)  # chrono draws `log U(1, max_lag - 1)`, which needs two steps
    return f"gateflow.remedies.init.chrono(model, max_lag={longest})  # gateflow train lm --init chrono:{longest}"
