"""How a task is described: its name, where its parts lie, and its verbs. All of it is data, and free of torch.

The command line renders it: ``gateflow --help`` and ``gateflow train TASK --help`` answer before torch is loaded, and a
new task needs no line in `cli`. A verb's function gives an answer, which is data as well; it prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from gateflow.data.track import Track
from gateflow.errors import TaskError

__all__ = ["Compared", "Figures", "Given", "Growth", "Lines", "Option", "StepCost", "Table", "Tables"]
__all__ += ["TaskDescription", "Verb", "Written", "imported"]


@dataclass(frozen=True)
class Given:
    """What every verb's function is given, before the options of its own.

    Args:
        run: the run, of the task's own class.
        track: what shows progress; without it there is none.
    """

    run: Any
    track: Track = lambda items, doing, total: items


@dataclass(frozen=True)
class Option:
    """One option of a verb.

    Attributes:
        name: of the function's argument; ``top_k`` is ``--top-k`` on the command line.
        type: int, float, str, bool or Path.
        help: one sentence or two.
        default: what stands if nothing is typed.
        required: it must be typed.
        least, most: bounds of a number.
    """

    name: str
    type: type
    help: str
    default: Any = None
    required: bool = False
    # Bounds are told by the command line before torch is loaded; the function may refuse more.
    least: float | None = None
    most: float | None = None

    @property
    def flag(self) -> str:
        """As it is typed.

        Example:
            >>> Option("top_k", int, "Choose among the k likeliest.").flag
            '--top-k'
        """
        # As click makes an argument's name out of a flag.
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True)
class Figures:
    """An answer in figures: lines for people, the same as JSON."""

    json: Any
    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """An answer of rows and columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    json: Any = None
    title: str | None = None


@dataclass(frozen=True)
class Written:
    """A text that comes piece by piece, and is exact in a file or pipe.

    Attributes:
        start: what it goes on from, which is written first.
        pieces: what is new.
        json: makes the document out of all that is new.
    """

    start: str
    pieces: Iterator[str]
    json: Callable[[str], Any]


@dataclass(frozen=True)
class Tables:
    """An answer of several tables, each with its title, and lines of figures before them."""

    tables: Sequence[Table]
    json: Any
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Lines:
    """An answer that comes line by line, for data without end: texts for people and programs, or JSON objects.

    Attributes:
        items: pairs of a text of one or more lines and the same as data, one JSON document a line.
        blank: whether an empty text is a blank line, as where each line answers one; else it is nothing to be shown.
    """

    items: Iterator[tuple[str, Any]]
    blank: bool = False


Answer = Figures | Table | Tables | Written | Lines


@dataclass(frozen=True)
class Verb:
    """What can be done with a run of the task.

    Attributes:
        name: ``generate`` is the command ``gateflow generate RUN``. Where several tasks have a verb of one name, the
            command finds the task of the run.
        help: what the command's help says; Markdown, with an example.
        function: ``package.module:function``, called with a `Given` and the options by name; it returns an `Answer`.
        options: those of its own; the run's folder, ``--trust-code`` and ``--json`` come with every verb.
    """

    name: str
    help: str
    function: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Compared:
    """What a comparison of cells tells of a trained network, besides how good it is and how long it took.

    Attributes:
        parameters: of the recurrent layers that have the cell.
        horizon: the lag at which 1 % of the gradient is left; None where nothing arrives at all.
        longest: the largest lag that could have been found.
        target: what a loss is counted by, such as ``step`` or ``word``: the time is told for one of these.
    """

    parameters: int
    horizon: int | None
    longest: int
    target: str


@dataclass(frozen=True)
class StepCost:
    """What one new token takes behind so many others.

    Attributes:
        length: tokens before it.
        microseconds: of the step, in a batch of one.
        bytes: of what is carried on from token to token.
    """

    length: int
    microseconds: float
    bytes: int


@dataclass(frozen=True)
class Growth:
    """What a network costs, and is worth, as its sequences grow.

    Attributes:
        steps: the cost of a token behind more and more others; nothing where no token is said after others.
        trained: from how many tokens it was trained to go on: those that a layer looks back to, or of a whole target.
        within, beyond: how good it is up to that length and beyond it; None where the data have nothing so long.
        measure: what the two are.
    """

    steps: tuple[StepCost, ...]
    trained: int
    within: float | None
    beyond: float | None
    measure: str


@dataclass(frozen=True)
class TaskDescription:
    """All that the rest of gateflow knows of a task. Places are written ``package.module:name``.

    Attributes:
        name: as in ``gateflow train NAME`` and in ``task = "NAME"`` of config.toml.
        help: what the help of ``gateflow train NAME`` says; Markdown, with an example.
        config: the task's class of `gateflow.runs.config.RunConfig`; its fields are the options of the training.
        run: the task's class of `gateflow.runs.run.Run`.
        set_up: ``set_up(path, config, force=False)`` makes a run at step 0.
        build: ``build(run, config, rank, world_size)`` makes the `gateflow.training.task.Task` of one process.
        diagnose: ``diagnose(run, data, needed_lag)`` measures the gradient flow, `data` a path or none.
        load: ``load(run)`` is the network with its best weights, in eval mode, for `gateflow.load`.
        verbs: what can be done with a run apart from `resume` and `diagnose`.
        next_steps: commands to try after a training, ``{run}`` for its folder.
        option_help: other words for options of the configuration.
        begin: ``begin(run, config)`` builds the network with its initial weights, from the files that the set-up has
            made; its random numbers are drawn after the seed is set.
        compared: ``compared(run, model)`` is the `Compared` of a trained network. With it, `begin` and an option
            ``cell``, cells are compared on the task by ``gateflow compare --task NAME``.
        growth: ``growth(run, model)`` is the `Growth` of a trained network, for comparisons with a Transformer.
        figure_names: figures of the task as people write them, such as ``{"f1": "F1"}``.
        series: ``series(path, config)`` gives the places and configurations of the runs of one training, where it is
            several, such as folds; else nothing. Left out, a training is one run.
        summary: ``summary(runs)`` is the `Answer` that is printed when all runs of a series are trained.
        inspect: ``inspect(run)`` makes the `gateflow.tasks.inspection.Inspected` that ``gateflow inspect`` shows.
    """

    name: str
    help: str
    config: str
    run: str
    set_up: str
    build: str
    diagnose: str
    load: str
    verbs: tuple[Verb, ...] = ()
    next_steps: tuple[str, ...] = ()
    option_help: Mapping[str, str] = field(default_factory=dict)
    begin: str = ""
    compared: str = ""
    growth: str = ""
    figure_names: Mapping[str, str] = field(default_factory=dict)
    series: str = ""
    summary: str = ""
    inspect: str = ""

    def part(self, name: str) -> Any:
        """What the place in the field `name` names.

        Raises:
            TaskError: there is nothing.
        """
        return imported(getattr(self, name), f"`{name}` of the task {self.name}")

    def verb(self, name: str) -> Verb | None:
        """The verb of that name, if the task has it."""
        return next((verb for verb in self.verbs if verb.name == name), None)


def imported(place: str, what: str = "a part of a task") -> Any:
    """What ``package.module:name`` names.

    Args:
        place: out of the list of tasks or out of a description, never one out of a file.
        what: whose place it is, for the message.

    Raises:
        TaskError: there is nothing of that name.

    Example:
        >>> imported("math:pi") > 3
        True
        >>> imported("math:pie", "`run` of the task tones")
        Traceback (most recent call last):
            ...
        gateflow.errors.TaskError: `run` of the task tones is 'math:pie', and that cannot be imported: ...
    """
    refuse_no_place(place, what)
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TaskError(f"{what} is {place!r:.80}, and that cannot be imported: {error}. Correct the place.") from error


def refuse_no_place(place: object, what: str) -> None:
    """Refuse what is not written as a place is; nothing is imported.

    Raises:
        TaskError: it is no text, or no ``package.module:name``.
    """
    module, _, name = place.partition(":") if isinstance(place, str) else ("", "", "")
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise TaskError(f"{what} is {place!r:.80}: write it as package.module:name, such as my_task:set_up.")
