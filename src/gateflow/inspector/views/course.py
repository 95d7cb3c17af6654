"""How the training of a run went: its metrics.jsonl, as far as it has come."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateflow.errors import RunError
from gateflow.inspector.views.question import Answer, Question
from gateflow.runs.run import Run
from gateflow.training.metrics import MetricsLog

__all__ = ["Course", "CourseQuestion", "course"]

# Records of a kind that are shown: more than a screen has dots.
MOST = 2000


class CourseQuestion(Question):
    """How did the training go?

    Attributes:
        after: records up to this step are known already.
    """

    run: int = Field(default=0, ge=0, le=1)
    after: int = Field(default=-1, ge=-1)


class Course(Answer):
    """Records by kind: of the training itself, of validations, and of a monitor of the gradient flow."""

    training: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    flow: list[dict[str, Any]]


def course(run: Run[Any], question: CourseQuestion) -> Course:
    """The records after a step, evenly thinned out where there are too many.

    Raises:
        RunError: the folder is gone.
    """
    if not run.path.is_dir():
        raise RunError(f"{run.path} is gone: its training is shown as far as it was read.")
    kinds: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "flow": []}
    for record in MetricsLog(run.metrics_file).read():
        if record["step"] > question.after:
            kinds[{"valid": "validation", "flow": "flow"}.get(str(record.get("kind")), "training")].append(record)
    return Course(**{name: _thinned(records) for name, records in kinds.items()})


def _thinned(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # The last one is always there.
    every = -(-len(records) // MOST) or 1
    return records[::-1][::every][::-1]
