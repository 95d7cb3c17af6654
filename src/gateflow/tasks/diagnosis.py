"""The gradient flow of a run's model, with what its training has written down; for any task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from gateflow.errors import FlowError, NonFiniteError
from gateflow.flow import ContingencyTable, Dependency, Finding, Report, diagnose, reach
from gateflow.flow.capture import Loss
from gateflow.layers.evaluating import evaluating
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag
from gateflow.runs.run import Run
from gateflow.tasks.score import Confusion
from gateflow.training.metrics import MetricsLog, Record

__all__ = ["SAMPLED", "confusion_table", "diagnose_with_history", "for_task", "horizon_of", "judged"]

# Steps whose loss is followed back where a horizon is all that is asked for: the work grows with their number.
SAMPLED = 32
# Examples of a confusion matrix: a share of them is known to half a percent, and they take seconds.
JUDGED = 10_000
_READING = """Over {what}: each row is what is right, each column what was given, and a cell the share of the row that
was given it. What is right lies on the diagonal, all else are mistakes. Colours grow with the root of the share, so
that a rare mistake is seen too; the pointer shows how many there are."""


def diagnose_with_history(
    run: Run[Any],
    model: nn.Module,
    batch: Any,
    loss: Any,
    *,
    needed_lag: int | None = None,
    window: int | None = None,
    tokens: Sequence[str] | None = None,
    dependency: Dependency | None = None,
) -> Report:
    """The report of `flow.diagnose`, with the run's training curve and what clipping did.

    Args:
        run: whose metrics.jsonl is read.
        model, batch, loss, needed_lag, window, tokens, dependency: as for `flow.diagnose`.

    Raises:
        RunError: metrics.jsonl is damaged.
        FlowError, NonFiniteError: as `flow.diagnose`.
    """
    history = [_of_curve(record) for record in MetricsLog(run.metrics_file).read() if record.get("kind") != "valid"]
    # The monitor's records know nothing of clipping.
    records = [record for record in history if record.get("clipped") is not None]
    report = diagnose(
        model,
        batch,
        loss,
        needed_lag=needed_lag,
        window=window,
        clip_history=records,
        history=history,
        tokens=tokens,
        dependency=dependency,
    )
    findings = tuple(for_task(finding, run.task(), run.kind) for finding in report.findings)
    more = {"title": f"Gradient flow of {run.path.resolve().name}", "clip_history": records}
    return replace(report, findings=findings, context={**report.context, **more})


def horizon_of(model: nn.Module, batch: Any, loss: Loss) -> int | None:
    """How many steps back the gradient of `loss(model, batch)` reaches; None where nothing or too much arrives."""
    try:
        with evaluating(model):
            return reach(model, batch, loss, targets=SAMPLED).horizon
    except (FlowError, NonFiniteError):
        return None


def judged(examples: Sequence[Any]) -> Sequence[Any]:
    """All examples, or so many that lie evenly among them: a file may be sorted by what is right."""
    return examples[:: max(1, -(-len(examples) // JUDGED))]


def confusion_table(confusion: Confusion, what: str, name: str = "") -> ContingencyTable:
    """A confusion matrix for the report of a run.

    Args:
        confusion: right names by given ones.
        what: was judged, such as ``200 texts``.
        name: tells it from other ones of the task.
    """
    title, sides = "What is taken for what", ("right", "given")
    rows, columns, counts = confusion.rows, confusion.columns, confusion.counts
    return ContingencyTable(title, _READING.format(what=what), sides, rows, columns, counts, name)


def for_task(finding: Finding, task: str, config: type[RunConfig]) -> Finding:
    """A finding with its remedy as a command of a task, if that has the options; the instruments know no task."""
    fields = {name for section in config.sections().values() for name in section.model_fields} - config.unused
    known = set(re.findall(r"--[a-z-]+", finding.options)) <= {flag(name) for name in fields}
    return replace(finding, command=f"gateflow train {task} {finding.options}" if finding.options and known else "")


def _of_curve(record: Record) -> Record:
    """A monitor's loss is that of one batch; those of the other records are means."""
    return {name: x for name, x in record.items() if record.get("kind") != "flow" or name != "loss"}
