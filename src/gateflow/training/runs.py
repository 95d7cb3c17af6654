"""A run is a folder; this is what lies in it. How it comes to be is in `new_run`.

::

    RUN/config.toml                    what was asked, with the version of this layout
        tokenizer.json                 text ↔ tokens
        tokens/train.npy, valid.npy    the texts as token ids, memory-mapped
        model.safetensors              the best weights so far
        metrics.jsonl                  one line per logging interval and validation
        checkpoint/last.safetensors    all that is needed to go on exactly
        non_finite_step/               the first update whose loss or gradient was not finite, if any
        lock                           held by the process that trains

Nothing in it is a pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gateflow.errors import RunError
from gateflow.files import sweep
from gateflow.training.config import RunConfig

CONTENT = frozenset(
    {
        "config.toml",
        "tokenizer.json",
        "tokens",
        "model.safetensors",
        "metrics.jsonl",
        "flow.html",
        "checkpoint",
        "tensorboard",
        "non_finite_step",
        "lock",
    }
)

FOLDERS = ("checkpoint", "tokens", "tensorboard", "non_finite_step")


@dataclass(frozen=True)
class Run:
    """The folder of one training run, by the names of its files.

    Example:
        >>> Run(Path("runs/wt2")).model_file.as_posix()
        'runs/wt2/model.safetensors'
    """

    path: Path

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; drafts that killed processes have left in it are removed.

        Raises:
            RunError: there is no such folder, or it is not a run.
        """
        run = cls(path)
        if not path.is_dir():
            raise RunError(f"there is no run at {path}; `gateflow train lm --data FILE --out {path}` makes one.")
        if not run.config_file.is_file():
            raise RunError(f"{path} is not a run: it holds no config.toml. Name the folder given to --out.")
        for folder in (path, *(path / name for name in FOLDERS)):
            sweep(folder)
        return run

    @property
    def config_file(self) -> Path:
        """What was asked."""
        return self.path / "config.toml"

    @property
    def tokenizer_file(self) -> Path:
        """Text ↔ tokens."""
        return self.path / "tokenizer.json"

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

    def tokens_file(self, part: str) -> Path:
        """Token ids of ``train`` or ``valid``."""
        return self.path / "tokens" / f"{part}.npy"

    def config(self) -> RunConfig:
        """What was asked, checked again."""
        return RunConfig.read(self.config_file)

    def require(self, file: Path, remedy: str) -> Path:
        """The file, if the run has it; otherwise a RunError that ends in the remedy."""
        if not file.is_file():
            raise RunError(f"{self.path} lacks {file.relative_to(self.path)}; {remedy}.")
        return file

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run while training; a second trainer of the same run is refused."""
        self._refuse_links()
        try:
            with FileLock(self.path / "lock", blocking=False):
                yield
        except Timeout:
            raise RunError(f"{self.path} is being trained by another process; wait for it or stop it first.") from None

    def _refuse_links(self) -> None:
        """What training writes to must lie in the run: a link would lead its writes to a place of somebody else."""
        for name in ("lock", *FOLDERS):
            if (self.path / name).is_symlink():
                raise RunError(
                    f"{self.path / name} is a link, and training would write through it to "
                    f"{(self.path / name).readlink()}; put the real thing in its place."
                )
