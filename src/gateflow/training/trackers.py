"""The records of a run for TensorBoard, Weights & Biases or MLflow, by Accelerate's trackers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from gateflow.errors import ConfigError
from gateflow.files import write
from gateflow.runs.config import RunConfig
from gateflow.runs.documents import read_document
from gateflow.runs.run import Run
from gateflow.training.checkpoint import Progress
from gateflow.training.metrics import Record

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

# By the option's word: what to install, and the class of what goes wrong there. The word is the package's name, too.
_PACKAGES = {
    "tensorboard": ("TensorBoard", None),
    "wandb": ("Weights & Biases", "wandb.errors:Error"),
    "mlflow": ("MLflow", "mlflow.exceptions:MlflowException"),
}
_PROJECT = "gateflow"


class TrackedAs(BaseModel):
    """What a run is called where it is tracked, so that a resumed one goes on there; the file may be anybody's."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Tracker:
    """A callback that hands on every number of a record, under ``train/``, ``valid/`` or ``flow/``.

    Args:
        kind: the word of the option.
        run: its TensorBoard events lie in it; it is called after its folder elsewhere.
        config: shown beside its curves, but for TensorBoard, whose table of options is a run of its own.

    Raises:
        ConfigError: the service refuses, such as without an account.
        RunError: the run's tracker.json is damaged.
    """

    def __init__(self, kind: str, run: Run[Any], config: RunConfig) -> None:
        self.kind = kind
        known = _known(run)
        self.tracker: Any = _tracker(kind, run, known)
        word, error = _PACKAGES[kind]
        refusals: tuple[type[Exception], ...] = (resolve_name(error),) if error else ()
        try:
            self.tracker.start()
            # MLflow refuses other values later, and --epochs of resume may be other ones.
            if known is None and kind != "tensorboard":
                self.tracker.store_init_configuration(_flat(config))
        except refusals as refusal:
            raise ConfigError(f"--tracker {kind}: {word} says: {refusal!s:.400}") from None
        if known is None and (name := self._id()):
            write(run.tracker_file, TrackedAs(id=name).model_dump_json())

    @property
    def writer(self) -> Any:
        """TensorBoard's, for the images of a monitor; none elsewhere."""
        return self.tracker.tracker if self.kind == "tensorboard" else None

    def step(self, progress: Progress, total: int) -> None:
        """Curves have a point per record, not per update."""

    def record(self, record: Record) -> None:
        """Add one point to each curve."""
        if record["kind"] == "flow" and self.writer is not None:  # the monitor has it too, and names curves by layer
            return
        numbers = {
            f"{record['kind']}/{name}": value
            for name, value in record.items()
            if isinstance(value, int | float) and name not in ("step", "epoch", "seconds")
        }
        self.tracker.log(numbers, step=record["step"])

    def _id(self) -> str | None:
        run = self.tracker.tracker
        return {"wandb": lambda: run.id, "mlflow": lambda: run.info.run_id}.get(self.kind, lambda: None)()


@contextmanager
def tracked(run: Run[Any], config: RunConfig) -> Iterator[Tracker | None]:
    """The tracker that a run asks for, closed at the end, whatever that is; none without one."""
    if (kind := config.training.tracker) is None:
        yield None
        return
    require_tracker(kind)
    tracker = Tracker(kind, run, config)
    try:
        yield tracker
    finally:
        tracker.tracker.finish()


def require_tracker(kind: str) -> None:
    """Find out before anything is done whether the package is there; it is not imported.

    Raises:
        ConfigError: it is not.
    """
    spec = find_spec(kind)
    # A folder of that name has no origin, and W&B makes one where it runs.
    if spec is None or spec.origin is None:
        raise ConfigError(f"--tracker {kind} needs {_PACKAGES[kind][0]}: pip install 'gateflow[{kind}]'.")


def _tracker(kind: str, run: Run[Any], known: str | None) -> GeneralTracker:
    # Here: each is asked for by few.
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    name = run.path.resolve().name
    if kind == "tensorboard":
        return TensorBoardTracker("tensorboard", run.path)
    if kind == "mlflow":
        # MLflow's variable for the experiment goes first by itself.
        return MLflowTracker(_PROJECT, run_id=known, run_name=name)
    # Accelerate hands a project on, which goes before W&B's variable for it.
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    return WandBTracker(project, name=name, **({} if known is None else {"id": known, "resume": "allow"}))


def _known(run: Run[Any]) -> str | None:
    if not run.tracker_file.exists():
        return None
    remedy = "delete it, and the run begins again where it is tracked"
    return read_document(TrackedAs, run.tracker_file, 1 << 10, "names no tracked run", remedy).id


def _flat(config: RunConfig) -> dict[str, Any]:
    """Options by ``section.name``."""
    found = config.model_dump(mode="json", exclude_none=True)
    named = {f"{section}.{name}": value for section in config.sections() for name, value in found[section].items()}
    return {"task": config.task} | {
        name: value if isinstance(value, int | float | str) else str(value) for name, value in named.items()
    }
