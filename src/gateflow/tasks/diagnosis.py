"""The gradient flow of a run's model, with what its training has written down; for any task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from gateflow.errors import FlowError, NonFiniteError
from gateflow.flow import ByLag, ContingencyTable, Dependency, Finding, LayerReach, Reach, Report, diagnose, reach
from gateflow.flow.capture import Loss
from gateflow.flow.input_reach import told_by_lag
from gateflow.flow.sampling import Sampling
from gateflow.layers.evaluating import evaluating
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag
from gateflow.runs.run import Run
from gateflow.tasks.score import Confusion
from gateflow.training.metrics import MetricsLog, Record

__all__ = ["SAMPLED", "confusion_table", "diagnose_with_history", "for_task", "horizon_of", "judged"]
__all__ += ["report_without_recurrence", "with_inputs"]

# What may help where a remedy did not. Short examples open what long ones leave shut: agreement, all distances.
_ELSE = "A smaller learning rate, more updates, more units, or examples with shorter lags among them may help."
# Where there are no windows: then nothing is cut, and what is too short is the example.
_WHOLE = "Examples are read whole here, and none that was looked at is longer: learn from longer ones and look at them."
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
    tokens: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
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
    config = run.config()
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
    findings = tuple(for_task(finding, config) for finding in report.findings)
    more = {"title": f"Gradient flow of {run.path.resolve().name}", "clip_history": records}
    return replace(report, findings=findings, context={**report.context, **more})


def with_inputs(report: Report, inputs: LayerReach, *more: ByLag) -> Report:
    """The report with reach to the inputs, which any model has, and other figures by lag."""
    return replace(report, by_lag=(told_by_lag(inputs), *more))


def report_without_recurrence(
    run: Run[Any],
    model: nn.Module,
    inputs: LayerReach,
    loss: float,
    *,
    units: int,
    among: int,
    needed_lag: int | None = None,
    window: int | None = None,
    tokens: Sequence[str] | None = None,
) -> Report:
    """The report on a Transformer: that there is no recurrence, and how far its gradient reaches to the inputs.

    Args:
        run: whose metrics.jsonl is read.
        model: a Transformer.
        inputs: reach to what it has read.
        loss: on the batch.
        units: its width.
        among: steps at which there is a loss.
        needed_lag, window, tokens: as for `flow.diagnose`.

    Raises:
        RunError: metrics.jsonl is damaged.
        FlowError: a needed lag below 1.
    """
    if needed_lag is not None and needed_lag < 1:
        raise FlowError(f"needed_lag must be at least 1, found {needed_lag}")
    steps, rows = inputs.norms.shape[1:]
    sampling = Sampling(inputs.targets, among)
    records = [record for record in MetricsLog(run.metrics_file).read() if record.get("kind") != "valid"]
    context = {
        "model": type(model).__name__,
        "cells": {"layers": "Transformer"},
        "hidden_sizes": {"layers": units},
        "steps": steps,
        "rows": rows,
        "dtype": str(inputs.norms.dtype).removeprefix("torch."),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "loss": loss,
        "needed_lag": needed_lag,
        "window": window,
        "clipping": {},
        "tokens": None if tokens is None else list(tokens),
        "dependency": None,
        "seconds": 0.0,
        "history": records,
        "title": f"Gradient flow of {run.path.resolve().name}",
        "clip_history": [record for record in records if record.get("clipped") is not None],
    }
    reached = Reach({inputs.name: inputs}, sampling, loss)
    return Report((_no_recurrence(inputs),), reached, None, None, None, None, context, by_lag=(told_by_lag(inputs),))


def _no_recurrence(inputs: LayerReach) -> Finding:
    longest = len(inputs.decay.values) - 1
    return Finding(
        "no-recurrence",
        "healthy",
        "",
        "A Transformer has no recurrence to look at: each step looks at the others directly, and no gradient has to "
        f"come through the steps between. Of the gradient at a step's own input 1 % and more arrives at inputs up to "
        f"{inputs.horizon} of {longest} steps back.",
        {"horizon": float(inputs.horizon), "longest": float(longest)},
        "Vaswani et al. (2017). Attention is all you need. arXiv:1706.03762",
        "Compare it with recurrent layers on the same data: their report has the same figures for their inputs.",
        "",
    )


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


def for_task(finding: Finding, config: RunConfig) -> Finding:
    """A finding with its remedy as a command of a run's task, if that has the options; the instruments know no task.

    What the run has already is no remedy: then it says so, and what else there is.
    """
    sections = [getattr(config, section) for section in config.sections()]
    trained = {flag(name): value for section in sections for name, value in section if name not in config.unused}
    asked = dict(re.findall(r"(--[a-z-]+) (\S+)", finding.options))
    if "--window" in asked and "window" in config.unused:
        return replace(finding, remedy=_WHOLE, code="", options="", command="")
    if not asked or not asked.keys() <= trained.keys():
        return replace(finding, command="")
    if all(_has(name, value, trained[name]) for name, value in asked.items()):
        remedy = f"This model has {finding.options} already, and that is not enough. {_ELSE}"
        return replace(finding, remedy=remedy, code="", options="", command="")
    return replace(finding, command=f"gateflow train {config.task} {finding.options}")


def _has(name: str, asked: str, trained: Any) -> bool:
    """Whether a run was trained with what an option asks for, or with more of it."""
    if name == "--lr":  # all rules that name a rate ask for a smaller one
        return trained <= float(asked)
    weights, _, lag = asked.partition(":")
    if name == "--init" and lag:
        began, _, reach = str(trained).partition(":")
        return began == weights and float(reach) >= float(lag)
    return str(trained) == asked


def _of_curve(record: Record) -> Record:
    """A monitor's loss is that of one batch; those of the other records are means."""
    return {name: x for name, x in record.items() if record.get("kind") != "flow" or name != "loss"}
