"""What can be asked and what is answered, as JSON schemas."""

from __future__ import annotations

from typing import Any

from gateflow.inspector.session import About
from gateflow.inspector.views import VIEWS

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """Of each view the JSON schema of its question and of its answer.

    Example:
        >>> sorted(schema()["gates"]), schema()["gates"]["question"]["properties"]["layer"]["type"]
        (['answer', 'question'], 'string')
    """
    views = {
        name: {
            "question": view.question.model_json_schema(),
            "answer": view.answer.model_json_schema(mode="serialization"),
        }
        for name, view in VIEWS.items()
    }
    return views | {"about": {"answer": About.model_json_schema(mode="serialization")}}
