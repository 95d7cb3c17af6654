"""What a page shows as one HTML file: the page itself, and the answers to the questions that it has asked."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gateflow.errors import ConfigError, GateflowError
from gateflow.inspector.page import standalone
from gateflow.inspector.session import Session
from gateflow.inspector.views import VIEWS

__all__ = ["Recorded", "answers", "exported"]

# Questions of one export: those of the views, and the attribution of each place of a sentence.
MOST = 256


class Recorded(BaseModel):
    """What a page shows, and what it has asked for it.

    Attributes:
        state: of the page, as its link has it.
        questions: pairs of a view and a question.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    state: str = Field(max_length=8000)
    questions: list[tuple[str, dict[str, Any]]] = Field(max_length=MOST)


def exported(session: Session, recorded: Recorded) -> str:
    """The file. Answers are asked for again: nothing but text and numbers of a question gets into it.

    Raises:
        ConfigError: a question is none.
    """
    recording = {
        "about": session.about().model_dump(mode="json"),
        "state": recorded.state,
        "answers": answers(session, recorded),
    }
    return standalone(json.dumps(recording, ensure_ascii=False))


def answers(session: Session, recorded: Recorded) -> list[tuple[str, dict[str, Any], Any]]:
    """Questions with their answers; one that cannot be answered is left out, as the page shows its error alone."""
    found = []
    for view, question in recorded.questions:
        if view not in VIEWS:
            raise ConfigError(f"there is no view {view!r:.60}.")
        try:
            found.append((view, question, session.ask(view, question).model_dump(mode="json")))
        except GateflowError:
            continue
    return found
