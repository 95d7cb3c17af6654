"""A run is a folder; this is what lies in it, and how it comes to be.

::

    RUN/config.toml                    what was asked, with the version of this layout
        tokenizer.json                 text ↔ tokens
        tokens/train.npy, valid.npy    the texts as token ids, memory-mapped
        model.safetensors              the best weights so far
        metrics.jsonl                  one line per logging interval and validation
        checkpoint/last.safetensors    all that is needed to go on exactly
        lock                           held by the process that trains

Nothing in it is a pickle.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gateflow.errors import RunError
from gateflow.training.config import RunConfig
from gateflow.training.files import appearing_whole, refused

CONTENT = frozenset(
    {
        "config.toml",
        "tokenizer.json",
        "tokens",
        "model.safetensors",
        "metrics.jsonl",
        "checkpoint",
        "tensorboard",
        "lock",
    }
)


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
        """An existing run.

        Raises:
            RunError: there is no such folder, or it is not a run.
        """
        run = cls(path)
        if not path.is_dir():
            raise RunError(f"there is no run at {path}; `gateflow train lm --data FILE --out {path}` makes one.")
        if not run.config_file.is_file():
            raise RunError(f"{path} is not a run: it holds no config.toml. Name the folder given to --out.")
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
        try:
            with FileLock(self.path / "lock", blocking=False):
                yield
        except Timeout:
            raise RunError(f"{self.path} is being trained by another process; wait for it or stop it first.") from None


@contextmanager
def new_run(path: Path, config: RunConfig, *, force: bool = False) -> Iterator[Run]:
    """Set a run up in a hidden folder beside `path`; on leaving the block it appears there, whole.

    If the block fails, nothing appears, and a run that `force` was to replace stays.

    Raises:
        RunError: `path` exists and is not empty (without `force`), is no run, or is being trained.
    """
    path = path.resolve()
    _refuse_what_is_there(path, force)
    draft = Run(path.with_name(f".{path.name}.new"))
    try:
        draft.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(path, error) from error
    with draft.lock():
        try:
            _clear(draft)
            with appearing_whole(draft.config_file) as file:
                file.write_text(config.to_toml(), encoding="utf-8")
            yield draft
            _refuse_what_is_there(path, force)
            _take_place(draft.path, path)
        except OSError as error:
            raise refused(path, error) from error
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)


def _refuse_what_is_there(path: Path, force: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise RunError(f"--out {path} is a file; choose another name.")
    if not force:
        raise RunError(f"--out {path} exists; go on with `gateflow resume {path}`, or replace it with --force.")
    if not (path / "config.toml").is_file():
        raise RunError(f"--force replaces runs only, and {path} is none (no config.toml); choose another --out.")
    strangers = [entry.name for entry in path.iterdir() if entry.name.strip(".").removesuffix(".draft") not in CONTENT]
    if strangers:
        raise RunError(f"--force would delete {path / strangers[0]}, which is no part of a run; move it away first.")
    with Run(path).lock():
        pass


def _clear(draft: Run) -> None:
    """Remove what a set-up that was killed left behind; the lock is ours and stays."""
    for entry in draft.path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _take_place(draft: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        path.rename(replaced)
    draft.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)
