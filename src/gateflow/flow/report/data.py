"""What a page is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateflow.flow.by_lag import ByLag
from gateflow.flow.contingency import ContingencyTable
from gateflow.flow.excerpts import Excerpts
from gateflow.flow.gates import Gates
from gateflow.flow.lyapunov import Lyapunov
from gateflow.flow.reach import Reach
from gateflow.flow.rules import Finding
from gateflow.flow.terms import Terms
from gateflow.flow.what_if import WhatIf

__all__ = ["ReportData"]


class ReportData(Protocol):
    """The fields of `flow.Report` that a page reads, in its words.

    Stated here and not imported: `flow.diagnose` calls this room to save a report, so the room may not know `diagnose`.
    """

    @property
    def findings(self) -> Sequence[Finding]:
        """What the rules say, the worst first."""
        ...

    @property
    def reach(self) -> Reach:
        """Drawn as heatmaps and as decay by lag."""
        ...

    @property
    def lyapunov(self) -> Lyapunov | None:
        """Drawn as spectra; none for 16-bit models."""
        ...

    @property
    def gates(self) -> Gates | None:
        """Drawn over the tokens, and as half-lives of units."""
        ...

    @property
    def terms(self) -> Terms | None:
        """Drawn as shares by distance; none where they were too much work."""
        ...

    @property
    def what_if(self) -> WhatIf | None:
        """The table of other initial weights; none if it was not asked for."""
        ...

    @property
    def tables(self) -> Sequence[ContingencyTable]:
        """Drawn in sections of their own."""
        ...

    @property
    def excerpts(self) -> Sequence[Excerpts]:
        """Shown in sections of their own."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers and lists: what can be downloaded from the page."""
        ...

    @property
    def by_lag(self) -> Sequence[ByLag]:
        """Drawn as lines in sections of their own."""
        ...

    @property
    def context(self) -> Mapping[str, Any]:
        """Sizes, cells, needed lag, window, tokens, and the records of a training."""
        ...
