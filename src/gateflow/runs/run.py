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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from gateflow.errors import RunError
from gateflow.files import read_bounded, sweep, write
from gateflow.runs.config import RunConfig, task_of
from gateflow.runs.trust import NOBODY, Trust

# What a run of any task may hold; anything else in its folder is the task's, or the user's.
CONTENT = frozenset(
    {
        "config.toml",
        "SHA256SUMS",
        "model.safetensors",
        "metrics.jsonl",
        "flow.html",
        "checkpoint",
        "tensorboard",
        "non_finite_step",
        "lock",
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
        if not path.is_dir():
            raise RunError(f"there is no run at {path}; `gateflow train TASK --out {path}` makes one.")
        if not run.config_file.is_file():
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
    def content(cls) -> frozenset[str]:
        """All that a run of this task may hold."""
        return CONTENT | {name.partition("/")[0] for name in cls.own_files}

    @property
    def config_file(self) -> Path:
        """What was asked."""
        return self.path / "config.toml"

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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
