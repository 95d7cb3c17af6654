"""One call that measures a model on a batch, says what is wrong with its gradients, and what to do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from torch import nn

from gateflow.errors import FlowError
from gateflow.flow.by_lag import ByLag
from gateflow.flow.capture import Loss, unchanged_buffers, without_autocast
from gateflow.flow.contingency import ContingencyTable
from gateflow.flow.dependency import Dependency
from gateflow.flow.excerpts import Excerpts
from gateflow.flow.gates import Gates
from gateflow.flow.lyapunov import Lyapunov
from gateflow.flow.measurements import Measurements, measure
from gateflow.flow.reach import Reach
from gateflow.flow.rules import RULES, SEVERITIES, Finding, same_lines
from gateflow.flow.table import Printable, columns
from gateflow.flow.terms import Terms
from gateflow.flow.what_if import WhatIf, what_if_of
from gateflow.remedies.clip import NormClipper

__all__ = ["Report", "diagnose"]

# Words of the one sequence that a model reads, or those of each of its parts.
Tokens = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Report(Printable):
    """What `diagnose` found.

    Attributes:
        findings: the worst first; one that says "healthy" if there is nothing else.
        reach, gates: what the instruments measured.
        lyapunov: none for 16-bit models, whose Jacobians are too coarse.
        terms: of `weight_hh`, for a sample of targets; none if no cell has one, or it was too much work.
        what_if: other initial weights on the same batch; none if it was not asked for or cannot be.
        context: sizes, cells, steps, rows, loss, needed lag, window, seconds, tokens, history.
        tables: what a task has counted besides, such as a confusion matrix; the page draws them.
        excerpts: examples that a task has chosen, such as those that it gets wrong; the page shows them.
        by_lag: what a task has measured for each lag, such as reach to the inputs.
    """

    findings: tuple[Finding, ...]
    reach: Reach
    lyapunov: Lyapunov | None
    gates: Gates | None
    terms: Terms | None
    what_if: WhatIf | None
    context: Mapping[str, Any]
    tables: tuple[ContingencyTable, ...] = ()
    excerpts: tuple[Excerpts, ...] = ()
    by_lag: tuple[ByLag, ...] = ()

    @property
    def worst(self) -> str:
        """The severity of the first finding."""
        return self.findings[0].severity

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        parts = {name: getattr(self, name) for name in ("reach", "lyapunov", "gates", "terms", "what_if")}
        found: dict[str, Any] = {"findings": [finding.to_dict() for finding in self.findings]}
        found |= {name: None if part is None else part.to_dict() for name, part in parts.items()}
        found |= {"context": dict(self.context), "tables": [table.to_dict() for table in self.tables]}
        found |= {"excerpts": [each.to_dict() for each in self.excerpts]}
        return found | {"by_lag": [each.to_dict() for each in self.by_lag]}

    def save(self, path: str | Path) -> Path:
        """Writes one self-contained HTML file with interactive plots, and returns its path."""
        # Here, and not above: only those who save a report need plotly and jinja2.
        from gateflow.flow.report import write

        return write(self, path)

    def __rich__(self) -> Any:
        table = columns("Findings", "", "finding", "where", "what was found, and what to do →")
        for finding, same in zip(self.findings, same_lines(self.findings), strict=True):
            lines = finding.lines if same is None else (f"(as for {same.name})",)
            remedy = "\n".join(part for part in (finding.remedy, *lines) if part)
            table.add_row(f"{finding.severity}\n{finding.name}", finding.where, f"{finding.says}\n{remedy}")
            table.add_section()
        tables = (self.reach, *self.by_lag, self.gates, self.lyapunov, self.terms, self.what_if)
        return Group(table, *(part.__rich__() for part in tables if part is not None))


def diagnose(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    *,
    needed_lag: int | None = None,
    window: int | None = None,
    clip_history: NormClipper | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    tokens: Tokens | None = None,
    dependency: Dependency | None = None,
    compare: bool = True,
    targets: int | Sequence[int] | None = None,
    memory_limit: int | None = None,
    seed: int = 0,
) -> Report:
    """What keeps the gradients of a model from reaching as far as the task needs, with numbers, sources and remedies.

    Measures `reach`, `gates`, `lyapunov`, a sample of `terms` and the gradient of every parameter on the batch, and
    asks each rule of `gateflow.flow.rules`. The model is left as it was, bit for bit.

    It runs twice, once traced for all instruments and once left to itself to compare with, and once more for each set
    of other initial weights.

    Args:
        model, batch, loss, targets, memory_limit, seed: as for `reach`. Give the loss you train with. Autocast around
            this call is noted, and measured without.
        needed_lag: how many steps back the task has to reach. Without it a short horizon is a warning only.
        window: steps of truncated back-propagation in training, if the batch does not show them.
        clip_history: a `NormClipper`, its `statistics()`, or the records of a run (`clipped`, `gradient_norm`).
        history: records of the run so far, such as `Monitor.history`, with `loss` and `horizon`.
        tokens: the words of the batch's first row, for the report; as many as it has steps. Where parts of the model
            read sequences of their own, those of each part, such as `{"encoder": […], "decoder": […]}`: by what the
            names of its layers begin with.
        dependency: the two steps of the first row that the needed lag is about, which the report marks.
        compare: whether to measure other initial weights too.

    Raises:
        FlowError: what `reach` refuses, a needed lag or window below 1, or a dependency between steps of several parts.
        NonFiniteError: weights or loss are NaN or infinite.

    Source: each finding names its own. What reach at the start does not say: it is neither sufficient (saturated cells
    do not learn) nor always necessary (a task that offers short lags too may open it).

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> report = diagnose(nn.LSTM(3, 8), torch.randn(60, 2, 3), needed_lag=50)
        >>> [(finding.name, finding.severity) for finding in report.findings]
        [('vanishing', 'problem'), ('short-half-life', 'problem')]
    """
    if dependency is not None and isinstance(tokens, Mapping):
        raise FlowError("dependency is about two steps of one sequence, and tokens has several; give those of one.")
    began = time.perf_counter()
    options: dict[str, Any] = {"needed_lag": needed_lag, "seed": seed, "memory_limit": memory_limit}
    more: dict[str, Any] = {"window": window, "clip_history": clip_history, "history": history, "targets": targets}
    with unchanged_buffers(model):
        measured = measure(model, batch, loss, **options, **more)
        with without_autocast(model):
            table = what_if_of(measured.trace, model, batch, loss, **options) if compare else None
    context = _context(measured, tokens, dependency) | {
        "seconds": time.perf_counter() - began,
        "history": list(measured.history),
    }
    return Report(_judged(measured), measured.reach, measured.lyapunov, measured.gates, measured.terms, table, context)


def _judged(measured: Measurements) -> tuple[Finding, ...]:
    found = [finding for rule in RULES for finding in rule(measured)]
    found = found or [_healthy(measured)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _healthy(measured: Measurements) -> Finding:
    layer = measured.farthest
    says = f"Gradients arrive: 1 % and more is left up to {layer.horizon} of {measured.longest} steps back"
    says += (
        f", and {measured.left.told} at the {measured.needed_lag} that the task needs." if measured.needed_lag else "."
    )
    evidence = {"horizon": float(layer.horizon), "lag": float(measured.lag), "left at lag": measured.left}
    source = "Pascanu, Mikolov, Bengio (2013). arXiv:1211.5063"
    return Finding("healthy", "healthy", "", says, evidence, source, "Nothing to do.", "")


def _plain(tokens: Tokens | None) -> dict[str, list[str]] | list[str] | None:
    if isinstance(tokens, Mapping):
        return {part: [str(token) for token in words] for part, words in tokens.items()}
    return None if tokens is None else [str(token) for token in tokens]


def _context(measured: Measurements, tokens: Tokens | None, dependency: Dependency | None) -> dict[str, Any]:
    cells = {title: type(replays[0].cell).__name__ for title, replays in measured.trace.sequences.items()}
    sizes = {title: replays[0].cell.hidden_size for title, replays in measured.trace.sequences.items()}
    return {
        "model": type(measured.model).__name__,
        "cells": cells,
        "hidden_sizes": sizes,
        "steps": measured.trace.times,
        "rows": measured.trace.replays[0].rows,
        "dtype": str(measured.trace.replays[0].y.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in measured.model.parameters()),
        "loss": measured.trace.loss,
        "needed_lag": measured.needed_lag,
        "window": measured.window,
        "clipping": dict(measured.clipping),
        "tokens": _plain(tokens),
        "dependency": None if dependency is None else dependency.to_dict(),
    }
