"""What the inspector shows, a file a view: a question, an answer, and the function that makes one of the other.

Questions come from a page and are checked, answers are data. `VIEWS` lists them by the names under which a page asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateflow.inspector.views.agreement import (
    Agreement,
    AgreementQuestion,
    Distances,
    DistancesQuestion,
    agreement,
    distances,
)
from gateflow.inspector.views.alike import Alike, AlikeQuestion, alike
from gateflow.inspector.views.attribution import Attribution, AttributionQuestion, attribution
from gateflow.inspector.views.course import Course, CourseQuestion, course
from gateflow.inspector.views.gates import GatesAnswer, GatesQuestion, gates
from gateflow.inspector.views.intervention import Intervention, InterventionQuestion, intervention
from gateflow.inspector.views.memory import Memory, MemoryQuestion, memory
from gateflow.inspector.views.outcomes import Read, ReadQuestion, read
from gateflow.inspector.views.question import Answer, Question
from gateflow.inspector.views.reach import ReachAnswer, ReachQuestion, reach
from gateflow.inspector.views.reading import Reading
from gateflow.inspector.views.units import Units, UnitsQuestion, units

__all__ = ["VIEWS", "Reading", "View"]


class View(NamedTuple):
    """One thing that can be asked.

    Attributes:
        question, answer: what is asked and what is answered.
        function: makes the answer; what it is given besides the question is said by `of`.
        of: a "reading" of the text that the question names, the "model", or the "run".
        heavy: whether it takes seconds: it is done on demand, tells how far it has come, and can be ended.
    """

    question: type[Question]
    answer: type[Answer]
    function: Callable[..., Any]
    of: str = "reading"
    heavy: bool = False


VIEWS: dict[str, View] = {
    "read": View(ReadQuestion, Read, read),
    "attribution": View(AttributionQuestion, Attribution, attribution),
    "memory": View(MemoryQuestion, Memory, memory),
    "gates": View(GatesQuestion, GatesAnswer, gates),
    "intervention": View(InterventionQuestion, Intervention, intervention),
    "agreement": View(AgreementQuestion, Agreement, agreement, of="model"),
    "distances": View(DistancesQuestion, Distances, distances, of="model"),
    "course": View(CourseQuestion, Course, course, of="run"),
    "reach": View(ReachQuestion, ReachAnswer, reach, heavy=True),
    "units": View(UnitsQuestion, Units, units, heavy=True),
    "alike": View(AlikeQuestion, Alike, alike, heavy=True),
}
