"""How the training goes: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.text import Text

from gateflow.cli.visible import VisibleConsole

if TYPE_CHECKING:
    from gateflow.training.checkpoint import Progress as TrainingProgress


class TrainingDisplay:
    """A callback of the training loop that shows loss, horizon, speed and time left on stderr."""

    def __init__(self, *, enabled: bool = True, lines: bool = True) -> None:
        self.lines = lines
        self.console = VisibleConsole(stderr=True, quiet=not enabled)
        columns = (BarColumn(), MofNCompleteColumn(), _Times(self))
        self.bar = _UnderFigures(*columns, console=self.console, disable=not (enabled and self.console.is_terminal))
        self.task = self.bar.add_task("starting")
        # Estimated here too, for lines in a log have no bar that could show it.
        self.left: float | None = None
        self.reach: dict[str, Any] = {}
        self._since: tuple[int, float] | None = None
        self._elapsed, self._at = 0.0, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds that the run has taken so far, in earlier processes too; they go on while it validates."""
        return self._elapsed + time.monotonic() - self._at

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def step(self, progress: TrainingProgress, total: int) -> None:
        """Move the bar."""
        self._elapsed, self._at = progress.elapsed, time.monotonic()
        # From the first update of this process: a resumed run has been slower or faster elsewhere. Of all that
        # passes, so that validations and checkpoints are in what is left as well.
        self._since = self._since or (progress.step, progress.elapsed)
        steps, seconds = progress.step - self._since[0], progress.elapsed - self._since[1]
        self.left = (total - progress.step) * seconds / steps if steps else None
        self.move(progress.step, total)

    def move(self, done: int, total: int) -> None:
        """Show that so many updates are done."""
        self.bar.update(self.task, completed=done, total=total)

    def record(self, record: dict[str, Any]) -> None:
        """Show the figures: in the bar, or as a line of their own; the horizon as it was measured last."""
        if record["kind"] == "flow":
            # Measured now and then, shown with every record until the next measurement.
            self.reach |= {name: record[name] for name in ("horizon", "longest") if name in record}
            return
        text = describe(record | self.reach if record["kind"] == "train" else record)
        # The bar is one line that is written over.
        if record["kind"] == "train" and self.console.is_terminal:
            self.bar.update(self.task, description=text)
        elif self.lines and record["kind"] == "train":
            left = "" if self.left is None else f", {minutes(self.left)} left"
            self.console.print(f"{text}{left}", soft_wrap=True)
        elif self.lines:
            self.console.print(text, style="bold")


class _UnderFigures(Progress):
    """The bar under its figures: side by side they have no room in the 80 columns of many terminals."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """As rich asks for it."""
        for task in self.tasks:
            yield Text(task.description, no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


class _Times(ProgressColumn):
    """How long it has taken and will take: rich's own columns know no validations, and no process before this one."""

    def __init__(self, display: TrainingDisplay) -> None:
        super().__init__()
        self.display = display

    def render(self, task: Task) -> Text:
        """As rich asks for it."""
        left = self.display.left
        return Text(f"{minutes(self.display.elapsed)} passed, {'–' if left is None else minutes(left)} left")


def describe(record: dict[str, Any]) -> str:
    """A record in words.

    Example:
        >>> describe({"kind": "valid", "step": 120, "epoch": 1.0, "loss": 4.5, "perplexity": 90.02})
        'epoch 1.00 validation loss 4.500 perplexity 90.0'
        >>> describe({"kind": "train", "step": 120, "epoch": 1.0, "loss": 4.5, "horizon": 12, "longest": 34})
        'epoch 1.00 loss 4.500 horizon 12 of 34'
    """
    kind = "validation " if record["kind"] == "valid" else ""
    text = f"epoch {record['epoch']:.2f} {kind}loss {_number(record['loss'], 3)}"
    speed = next((name for name in record if name.endswith("_per_second")), None)
    for name in [name for name in record if name not in _NOT_FIGURES and name != speed]:
        text += f" {name} {figure(record[name])}"
    if "horizon" in record:
        text += f" horizon {record['horizon']} of {record['longest']}"
    if speed:
        text += f" {record[speed]:,} {speed.removesuffix('_per_second')}/s"
    return text + (f" ({record['skipped']} updates skipped)" if record.get("skipped") else "")


_NOT_FIGURES = {"kind", "step", "epoch", "loss", "lr", "gradient_norm", "clipped", "skipped", "seconds"}
_NOT_FIGURES |= {"horizon", "longest"}
"""What stands in a record next to the figures of the task: a line has no room for it, or shows it itself."""


def figure(value: float | None) -> str:
    """A figure of a task: shares to three digits, what is larger to one.

    Example:
        >>> figure(90.02), figure(0.9336), figure(None), figure(1e300)
        ('90.0', '0.934', 'not finite', '1.0e+300')
    """
    return _number(value, 3 if value is not None and abs(value) < 1 else 1)


def minutes(seconds: float) -> str:
    """A duration.

    Example:
        >>> minutes(75), minutes(4000)
        ('1:15', '1:06:40')
    """
    hours, rest = divmod(round(seconds), 3600)
    return (f"{hours}:{rest // 60:02}" if hours else f"{rest // 60}") + f":{rest % 60:02}"


def _number(value: float | None, digits: int) -> str:
    # A model that has diverged has a perplexity of hundreds of digits.
    return "not finite" if value is None else f"{value:.1e}" if abs(value) > 1e12 else f"{value:,.{digits}f}"
