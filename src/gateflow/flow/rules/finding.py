"""What a rule says about a model: in words, with the numbers it rests on, its source, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gateflow.flow.table import plain

__all__ = ["SEVERITIES", "Finding", "chrono", "same_lines"]

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
        code: the line of Python that does it; none where there is only an option.
        options: of ``gateflow train`` that do it; none where there is only Python.
        command: the same as a whole command, in the words of the task that was trained; none where no task is known.

    Example:
        >>> finding = Finding("dead-units", "warning", "l0", "A fifth is dead.", {"dead": 0.2}, "", "", "restart()")
        >>> finding.evidence["dead"], finding.lines
        (0.2, ('restart()',))
    """

    name: str
    severity: str
    where: str
    says: str
    evidence: Mapping[str, float | str]
    source: str
    remedy: str
    code: str
    options: str = ""
    command: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What is there of Python and a command, to be copied."""
        return tuple(line for line in (self.code, self.command) if line)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; a number that is not finite as None."""
        evidence = {name: x if isinstance(x, str) else plain(x) for name, x in self.evidence.items()}
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"evidence": evidence}


def same_lines(findings: Sequence[Finding]) -> list[Finding | None]:
    """For each finding the first one before it whose remedy comes to the same lines; without lines, to the same words.

    Example:
        >>> found = [Finding(name, "warning", "", "", {}, "", "Do so.", "do()") for name in ("heavy-tail", "exploding")]
        >>> [None if first is None else first.name for first in same_lines(found)]
        [None, 'heavy-tail']
    """
    first: dict[tuple[str, ...], Finding] = {}
    told = [first.setdefault(finding.lines or (finding.remedy,), finding) for finding in findings]
    return [None if one is finding else one for one, finding in zip(told, findings, strict=True)]


def chrono(lag: int) -> tuple[str, str]:
    """Code and options of the remedy that most rules come to: memories as long as the task's lags."""
    longest = max(lag, 2)  # chrono draws `log U(1, max_lag - 1)`, which needs two steps
    return f"gateflow.remedies.init.chrono(model, max_lag={longest})", f"--init chrono:{longest}"
