"""A run is a folder; this is what lies in it, whatever its task. How it comes to be is in `new_run`.

::

    RUN/config.toml                    what was asked, with the version of this layout and the name of the task
        …                              what the task has made of its data, once and for all
        SHA256SUMS                     checksums of that, which nothing changes; for `sha256sum -c` too
        model.safetensors              the best weights so far
        metrics.jsonl                  one line per logging interval and validation
        checkpoint/last.safetensors    all that is needed to go on exactly
        non_finite_step/               the first update whose loss or gradient was not finite, if any
        lock                           held by the process that trains

Nothing in it is a pickle.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from gateflow.errors import ConfigError, RunError, RunWarning
from gateflow.files import is_draft, read_bounded, sweep, write
from gateflow.runs.config import RunConfig, task_of
from gateflow.runs.config_errors import flag
from gateflow.runs.trust import NOBODY, Trust

# What a run of any task may hold, with TensorBoard's files, whose names begin so; anything else in its folder is the
# task's, or the user's: a report that was written into it, too.
TENSORBOARD = "tensorboard/events.out.tfevents."
CONTENT = frozenset(
    {
        "config.toml",
        "SHA256SUMS",
        "model.safetensors",
        "metrics.jsonl",
        "checkpoint/last.safetensors",
        "non_finite_step/weights.safetensors",
        "non_finite_step/step.safetensors",
        "non_finite_step/about.json",
        "lock",
        "tracker.json",
    }
)

# The file of checksums, and its size: forty files of a task, where the largest has three.
SUMS, MOST_SUMS = "SHA256SUMS", 1 << 12
# What training writes into, made by itself when it first does.
FOLDERS = ("checkpoint", "tensorboard", "non_finite_step")

Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True)
class Run(Generic[Config]):
    """The folder of one training run, by the names of its files. A task derives its own, with what it adds.

    Example:
        >>> Run(Path("runs/wt2")).model_file.as_posix()
        'runs/wt2/model.safetensors'
    """

    kind: ClassVar[type[RunConfig]] = RunConfig
    """What the task's config.toml holds."""
    own_files: ClassVar[tuple[str, ...]] = ()
    """What the task's set-up makes and nothing changes: these files are sealed by a checksum."""

    path: Path
    trust: Trust = NOBODY

    @classmethod
    def open(cls, path: Path, trust: Trust = NOBODY) -> Self:
        """An existing run; drafts that killed processes have left in it are removed.

        Raises:
            RunError: there is no such folder, or it is not a run.
        """
        run = cls(path, trust)
        put_back(path)
        if not path.is_dir():
            raise RunError(f"there is no run at {path}; `gateflow train TASK --out {path}` makes one.")
        if not run.config_file.is_file():
            inner = sorted(entry.parent.name for entry in path.glob("*/config.toml"))
            if inner:
                names = f"{', '.join(inner):.200}"
                raise RunError(f"{path} is not a run, but holds {len(inner)} of them: {names}. Name one.")
            raise RunError(f"{path} is not a run: it holds no config.toml. Name the folder given to --out.")
        # Each writer locks its draft, so that only those of dead processes are taken away.
        for folder in (path, *(path / name for name in run.folders())):
            sweep(folder)
        return run

    @classmethod
    def folders(cls) -> tuple[str, ...]:
        """The folders in a run that gateflow writes to, those of the task's set-up among them."""
        return (*FOLDERS, *dict.fromkeys(name.partition("/")[0] for name in cls.own_files if "/" in name))

    @classmethod
    def may_hold(cls, name: str) -> bool:
        """Whether a file so called, as seen from the run's folder, is a part of a run of this task.

        Drafts that killed processes have left are, those of older versions too.

        Example:
            >>> Run.may_hold("checkpoint/last.safetensors"), Run.may_hold("checkpoint/notes.txt")
            (True, False)
        """
        folder, _, last = name.rpartition("/")
        plain = f"{folder}/".lstrip("/") + last.removeprefix(".").removesuffix(".draft")
        in_ours = folder in ("", *cls.folders())
        return (in_ours and is_draft(last)) or plain.startswith(TENSORBOARD) or plain in CONTENT | {*cls.own_files}

    @property
    def config_file(self) -> Path:
        """What was asked."""
        return self.path / "config.toml"

    @property
    def tracker_file(self) -> Path:
        """What the run is called at W&B or MLflow, if it is tracked there."""
        return self.path / "tracker.json"

    @property
    def model_file(self) -> Path:
        """The best weights so far."""
        return self.path / "model.safetensors"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """All that is needed to go on."""
        return self.path / "checkpoint" / "last.safetensors"

    def task(self) -> str:
        """The name of the task that this is a run of.

        Raises:
            RunError, ConfigError: it has no configuration, or that of a newer version.
        """
        return task_of(self.config_file)

    def config(self) -> Config:
        """What was asked, checked again.

        Raises:
            RunError, ConfigError: it is no configuration of this task, or that of a newer version.
            TrustError: it names code that nobody has said may run.
        """
        config = self.kind.read(self.config_file)
        for code in config.named_code():
            self.trust.check(code, self.config_file, self.path)
        return config  # type: ignore[return-value]  # `kind` is what Config stands for

    def extend(self, **limits: int | None) -> None:
        """Let the training go on beyond its end: a larger `epochs`, or `max_updates`, in its config.toml.

        A learning rate that falls to the end of the training falls to the new one from now on.

        Raises:
            ConfigError: one is not larger than what the run has.
            RunError: it is being trained.
            WriteError: the file system refused.
        """
        training = self.config().training
        for name, wanted in limits.items():
            before = getattr(training, name)
            if wanted is not None and before is None:
                raise ConfigError(f"{flag(name)} {wanted}: {self.path} has no such limit; its epochs end it.")
            if wanted is not None and wanted <= before:
                raise ConfigError(f"{flag(name)} {wanted}: {self.path} goes to {before:,} already; name a larger one.")
        wanted = {name: value for name, value in limits.items() if value is not None}
        with self.lock():
            config = self.kind.build({"training": wanted}, self.config_file)
            write(self.config_file, config.to_toml())

    def require(self, file: Path, remedy: str) -> Path:
        """The file, if the run has it; otherwise a RunError that ends in the remedy."""
        if not file.is_file():
            raise RunError(f"{self.path} lacks {file.relative_to(self.path)}; {remedy}.")
        return file

    def seal(self) -> None:
        """Write down the checksums of what a set-up has made once and for all.

        Raises:
            WriteError: the file system refused.
        """
        # A task may make fewer files for some data.
        present = [name for name in self.own_files if (self.path / name).is_file()]
        write(self.path / SUMS, "".join(f"{_sha256(self.path / name)}  {name}\n" for name in present))

    def unharmed(self, file: Path, remedy: str) -> Path:
        """The file, if the run has it and it is what was written; runs of older versions have no checksums to tell.

        Raises:
            RunError: it is missing, or has changed since.
        """
        name = self.require(file, remedy).relative_to(self.path).as_posix()
        # A run of an older version has no sums, and is read all the same.
        if (wanted := self._sums().get(name)) and wanted != _sha256(file):
            raise RunError(f"{file} is damaged: its checksum is not the one in {self.path / SUMS}; {remedy}.")
        return file

    def _sums(self) -> dict[str, str]:
        file = self.path / SUMS
        if not file.exists():
            return {}
        try:
            lines = read_bounded(file, MOST_SUMS).decode("ascii").splitlines()
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is damaged ({error!s:.200}); restore it from a copy.") from None
        found = [re.fullmatch(r"([0-9a-f]{64})  (\S+)", line) for line in lines]
        sums = {match[2]: match[1] for match in found if match}
        # A line that is none, or a name that is no file of this task: whoever wrote it did not write a seal.
        if len(sums) < len(lines) or sums.keys() - set(self.own_files):
            raise RunError(f"{file} is damaged: it is no list of checksums of this run; restore it from a copy.")
        return sums

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run while training; a second trainer of the same run is refused."""
        self._refuse_links()
        try:
            # The system lets go of it when the process dies, however it dies; so it never has to be
            # removed by hand.
            with FileLock(self.path / "lock", blocking=False):
                yield
        except Timeout:
            raise RunError(f"{self.path} is being trained by another process; wait for it or stop it first.") from None

    def _refuse_links(self) -> None:
        """What training writes to must lie in the run: a link would lead its writes to a place of somebody else."""
        for name in ("lock", *self.folders()):
            if (self.path / name).is_symlink():
                raise RunError(
                    f"{self.path / name} is a link, and training would write through it to "
                    f"{(self.path / name).readlink()}; put the real thing in its place."
                )


def resuming(path: Path) -> str:
    """The command that goes on with a run, as a shell takes it: a folder may have blanks in its name.

    Example:
        >>> resuming(Path("my runs/first"))
        "gateflow resume 'my runs/first'"
    """
    return f"gateflow resume {shlex.quote(str(path))}"


def being_set_up(path: Path) -> Path:
    """The hidden folder next to `path` in which a run for this place is set up."""
    return path.with_name(f".{path.name}.new")


def being_replaced(path: Path) -> Path:
    """The hidden folder next to `path` that holds the run which is being replaced by another."""
    return path.with_name(f".{path.name}.old")


def is_free(path: Path) -> bool:
    """Whether nothing is at this place, or an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def put_back(path: Path) -> None:
    """Give a run its name back, if a process was killed when it had moved it away and not yet put another in its place.

    Raises:
        RunError: it may not be renamed; the message says where it is.
    """
    # A name like "." has no neighbours.
    path = path.resolve()
    if not path.name or not is_free(path):
        return
    old, lock = being_replaced(path), being_set_up(path) / "lock"
    if old.is_symlink() or not (old / "config.toml").is_file():
        return
    # A process that is alive puts the new one there by itself, in a moment.
    with suppress(Timeout), FileLock(lock, blocking=False) if lock.exists() else nullcontext():
        try:
            old.rename(path)
        except FileNotFoundError:  # another process was faster
            return
        except OSError as error:
            raise RunError(f"the run of {path} is at {old}, and could not be put back: {error.strerror}.") from None
        warnings.warn(
            f"{path} is back: the command that was replacing it with --force was killed, and nothing is lost.",
            RunWarning,
            stacklevel=2,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
