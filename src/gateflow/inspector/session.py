"""Models and what they have read: the one place that answers questions, whoever asks."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateflow.data.pairs import Pair
from gateflow.errors import ConfigError
from gateflow.inspector.opening import no_state, shown_run
from gateflow.inspector.views import VIEWS, Reading, View
from gateflow.inspector.views.agreement import reads_grammar
from gateflow.inspector.views.question import LONGEST, LONGEST_TEXT, Answer, OfText, Question
from gateflow.layers import has_cells
from gateflow.runs.run import Run
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks.inspection import Inspected

__all__ = ["About", "Contrast", "Session", "Subject", "subject_of"]

# Readings that are kept: all examples of both runs, so that a second search among them takes no time.
KEPT = 256
# Pairs that can be chosen from.
PAIRS = 200
# Outcomes that are named on the page; more are typed.
NAMED = 200

# What is asked for where a question is refused; by the name that pydantic gives the fault, and with its limits.
REASONS = {
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "string_type": "it must be text",
    "bool_type": "it must be true or false",
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "less_than": "it must be below {lt}",
    "finite_number": "it must be finite",
    "string_too_long": "it may have at most {max_length}; shorten it",
    "too_long": "it may have at most {max_length}",
    "missing": "it is missing",
    "extra_forbidden": "nothing of that name is asked for",
}

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """A model with what it is called.

    Attributes:
        run: its folder, if it is a run's.
    """

    name: str
    task: str
    inspected: Inspected
    run: Run[Any] | None = None


def subject_of(path: Path, trust: Trust = NOBODY) -> Subject:
    """The best model of a run.

    Raises:
        ConfigError: its task cannot be shown, or it has no recurrent layers.
        RunError, NonFiniteError, TrustError: the run cannot be used.
    """
    run, task = shown_run(path, trust)
    inspected = task.part("inspect")(run)
    if not has_cells(inspected.model):
        raise no_state(path)
    return Subject(path.resolve().name, task.name, inspected, run)


class Contrast(Answer):
    """The beginning that a pair of sentences shares, and the two words that follow."""

    text: str
    right: str
    wrong: str


class About(Answer):
    """What there is to be asked, for each model, and the limits."""

    runs: list[dict[str, Any]]
    contrasts: list[Contrast]
    longest: int = LONGEST
    longest_text: int = LONGEST_TEXT


class Session:
    """Answers questions about one model or two.

    Args:
        subjects: the models.

        pairs: sentences with and without a mistake, from which the first words that differ are compared.

    Raises:
        ConfigError: two that read or say different kinds of things.

    Example:
        >>> session = Session([])
        >>> session.about().runs
        []
    """

    def __init__(self, subjects: Sequence[Subject], pairs: Iterable[Pair] = ()):
        self.subjects = list(subjects)
        self.contrasts = _contrasts(self.subjects, pairs)
        _refuse_unlike(self.subjects)
        for subject in self.subjects:
            # Nothing is learnt here: a gradient for each weight would take most of the time.
            subject.inspected.model.requires_grad_(False)
        self._readings: OrderedDict[tuple[int, str | None, int | None], Reading] = OrderedDict()

    def apart(self) -> Session:
        """Another session on copies of the models, for another thread: while a model is looked into, nobody runs it."""
        return Session([replace(each, inspected=copy.deepcopy(each.inspected)) for each in self.subjects])

    def about(self) -> About:
        """What the models are."""
        return About(runs=[_described(subject) for subject in self.subjects], contrasts=self.contrasts)

    def ask(self, name: str, question: bytes | dict[str, Any], tick: Tick = lambda done, total: None) -> Answer:
        """The answer of a view.

        Args:
            name: of the view.
            question: as JSON, or as data.
            tick: told how far what takes long has come; what it raises ends it.

        Raises:
            ConfigError: there is no such view, or the question is none for it.
        """
        view = VIEWS.get(name)
        if view is None:
            raise ConfigError(f"there is no view {name!r:.60}; there are {', '.join(VIEWS)}.")
        asked = _checked(view, question)
        run = getattr(asked, "run", 0)
        if run >= len(self.subjects):
            raise ConfigError(f"there is no run {run + 1}; name a second one: gateflow inspect RUN RUN2.")
        return view.function(*self._given(view, self.subjects[run], asked), asked, **self._more(name, view, run, tick))

    def reading(self, run: int, text: str | None, example: int | None) -> Reading:
        """A text or an example, read by a model; the latest ones are kept."""
        key = run, text, example
        if key not in self._readings:
            inspected = self.subjects[run].inspected
            if text is None and not (example or 0) < len(inspected.examples()):
                raise ConfigError(f"there is no example {example}; there are {len(inspected.examples())}.")
            steps = inspected.example(example or 0) if text is None else inspected.read(text)
            self._readings[key] = Reading(inspected, steps)
        self._readings.move_to_end(key)
        while len(self._readings) > KEPT:
            self._readings.popitem(last=False)
        return self._readings[key]

    def _given(self, view: View, subject: Subject, asked: Question) -> tuple[Any, ...]:
        if view.of == "model":
            if not reads_grammar(subject.inspected):
                raise ConfigError(f"{subject.name} does not know the words of the grammar of agreement.")
            return (subject.inspected,)
        if view.of == "run":
            if subject.run is None:
                raise ConfigError(f"{subject.name} is no run, and has no record of its training.")
            return (subject.run,)
        assert isinstance(asked, OfText), "a reading is of a text"
        return (self.reading(asked.run, asked.text, asked.example),)

    def _more(self, name: str, view: View, run: int, tick: Tick) -> dict[str, Any]:
        more: dict[str, Any] = {"tick": tick} if view.heavy else {}
        return more | ({"of_example": lambda number: self.reading(run, None, number)} if name == "alike" else {})


def _refuse_unlike(subjects: Sequence[Subject]) -> None:
    """One sentence is read by both models, so that both must read sentences, and say the same kind of thing."""
    for other in subjects[1:]:
        a, b = subjects[0].inspected, other.inspected
        if (a.about, a.typed) != (b.about, b.typed):
            raise ConfigError(
                f"{subjects[0].name} is a run of the task {subjects[0].task} and {other.name} of {other.task}: they "
                "cannot be shown side by side. Name two runs of one task, or look at each by itself."
            )


def _contrasts(subjects: Sequence[Subject], pairs: Iterable[Pair]) -> list[Contrast]:
    """The first pairs whose words the models know.

    Raises:
        ConfigError: there are pairs, and none of them is one of two words that the models know.
    """
    found, pairs = [], list(pairs)
    for pair in pairs:
        right, wrong = pair.grammatical.split(), pair.ungrammatical.split()
        at = next((k for k, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), 0)
        if at and all(each.inspected.number(word) is not None for each in subjects for word in (right[at], wrong[at])):
            found.append(Contrast(text=" ".join(right[:at]), right=right[at], wrong=wrong[at]))
    if pairs and not found:
        raise ConfigError(
            "no pair differs in a word that can be compared: the run must predict words, and know both of a pair."
        )
    return found[:PAIRS]


def _checked(view: View, question: bytes | dict[str, Any]) -> Question:
    try:
        # By way of JSON in both cases: there a list is a tuple, and an integer a number.
        return view.question.model_validate_json(question if isinstance(question, bytes) else json.dumps(question))
    except ValidationError as error:
        raise ConfigError(_told(error.errors(include_url=False)[0])) from None


def _told(wrong: ErrorDetails) -> str:
    """What is wrong with a question, by the name of the field; of a list, the one within it."""
    names = [str(each) for each in wrong["loc"] if str(each).isidentifier()]
    limits = {name: f"{value:,.10g}" for name, value in wrong.get("ctx", {}).items() if isinstance(value, int | float)}
    reason = REASONS.get(wrong["type"], "").format_map(limits) or wrong["msg"].removeprefix("Value error, ")
    if wrong["type"] == "string_too_long":
        return f"{names[-1]}: {len(wrong['input']):,} characters are given; {reason}."
    if wrong["type"] in ("missing", "extra_forbidden", "value_error"):
        return f"{names[-1] if names else 'the question'}: {reason}."
    given = json.dumps(wrong["input"], default=repr)
    return f"{names[-1] if names else 'the question'}: {given:.60} is given; {reason[0].lower()}{reason[1:]}."


def _described(subject: Subject) -> dict[str, Any]:
    inspected = subject.inspected
    examples = inspected.examples()
    found: dict[str, Any] = {
        "name": subject.name,
        "task": subject.task,
        "about": inspected.about,
        "step": inspected.step,
        "typed": inspected.typed,
        "examples": [str(text)[:LONGEST_TEXT] for text in examples],
        "outputs": {name: list(names[:NAMED]) for name, names in inspected.outcomes.items()},
        "agreement": reads_grammar(inspected),
        "course": subject.run is not None,
    }
    reading = Reading(inspected, inspected.example(0)) if examples else None
    return found | {"layers": [] if reading is None else [_layer(reading, name) for name in reading.layers]}


def _layer(reading: Reading, name: str) -> dict[str, Any]:
    cell = reading.layer(name)[0].cell
    parts, gates = reading.parts(name), reading.gates(name).activations
    return {
        "name": name,
        "cell": type(cell).__name__,
        "equation": cell.equation,
        "states": list(cell.states),
        "parts": {part: values.shape[1] for part, values in parts.items()},
        "held": [*cell.states, *gates],
        "kinds": {gate: found.kind for gate, found in gates.items()},
    }
