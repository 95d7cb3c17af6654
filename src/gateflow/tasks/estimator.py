"""What an estimator of any task has in scikit-learn's manner: its options, its run, and how both are kept."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Self

from gateflow.errors import ConfigError, RunError, among
from gateflow.runs.run import Run
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks.arguments import as_arguments, flags_of
from gateflow.tasks.description import TaskDescription
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

__all__ = ["Estimator"]


class Estimator:
    """The part of an estimator that no task has to say: `get_params`, `set_params`, `save`, `load`.

    A task derives its own, with `fit` and `predict`, and with `_take`, which loads what a run has learnt.

    Args:
        options: those of the task's training; a name that is none is refused here, a value when `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Raises:
        ConfigError: there is no such option.
    """

    description: ClassVar[TaskDescription]
    """Of the task: where its options, its runs and its training are."""
    of_fit: ClassVar[frozenset[str]] = frozenset({"train", "valid"})
    """Options of the command line that are arguments of `fit` here, or mean nothing."""
    called_here: ClassVar[Mapping[str, str]] = {}
    """Options of the commands that are called otherwise here, such as ``{"--nbest": "n_best"}``."""

    def __init__(self, *, out: str | Path | None = None, **options: Any) -> None:
        known = self.options()
        if strangers := sorted(options.keys() - known.keys()):
            raise ConfigError(f"{type(self).__name__} has no option {strangers[0]}; {among(strangers[0], known)}.")
        self.out = out
        for name, (_, default) in known.items():
            setattr(self, name, options.get(name, default))

    @classmethod
    @cache
    def options(cls) -> dict[str, tuple[str, Any]]:
        """All options by name, with their sections of config.toml and their defaults."""
        kind = cls.description.part("config")
        return {
            name: (section, field.get_default())
            for section, part in kind.sections().items()
            for name, field in part.model_fields.items()
            if name not in cls.of_fit | kind.unused
        }

    @classmethod
    def in_words_of_python(cls) -> AbstractContextManager[None]:
        """Within the block errors speak of arguments, and of no options of commands."""
        common = {
            "--data": "X",
            "--out": "out",
            "--force": "force=True",
            "--trust-code": "trust=Trust(everything=True)",
        }
        return as_arguments(flags_of(cls.description.part("config")) | common | dict(cls.called_here))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All options with their values, as scikit-learn asks for them."""
        return {"out": self.out, **{name: getattr(self, name) for name in self.options()}}

    def set_params(self, **options: Any) -> Self:
        """Set some options for the next `fit`.

        Raises:
            ConfigError: there is no such option.
        """
        Estimator.__init__(self, **{**self.get_params(), **options})
        return self

    def __repr__(self) -> str:
        known = self.options()
        changed = {name: value for name, value in self.get_params().items() if value != known.get(name, (0, None))[1]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def save(self, path: str | Path) -> None:
        """Keep the run of the last `fit` at `path`; the commands of the task and `load` read it.

        Raises:
            RunError: something is there; or the run went with the process that trained it.
        """
        run, path = self._run, Path(path)
        if not run.path.is_dir():
            raise RunError(
                f"the run was at {run.path} and went with the process that trained it; call save in that one, or give "
                f"{type(self).__name__} an out."
            )
        if path.exists():
            raise RunError(f"{path} exists; choose another name, or remove it first.")
        shutil.copytree(run.path, path)

    @classmethod
    def load(cls, path: str | Path, trust: Trust = NOBODY) -> Self:
        """What a run has learnt, trained here or on the command line."""
        with cls.in_words_of_python():
            run: Run[Any] = cls.description.part("run").open(Path(path), trust)
            config = run.config()
            known = cls.options().items()
            found = cls(out=path, **{name: getattr(getattr(config, section), name) for name, (section, _) in known})
            found._take(run)
        return found

    def _take(self, run: Any) -> None:
        """Load what a run has learnt, and keep the run as ``run_``."""
        raise NotImplementedError

    def _set_up(
        self, data: Mapping[str, Any], *, force: bool, more: Mapping[str, Mapping[str, Any]] | None = None, **given: Any
    ) -> Run[Any]:
        """A new run at step 0: the options as they are now, with these of the section ``data``.

        Args:
            data: options; where data lie is one of them.
            force: replace a run.
            more: options of further sections.
            given: more for the task's set-up, such as data that lie in no file.

        Raises:
            ConfigError: a value cannot work, or an option would do nothing beside the others.
        """
        sections: dict[str, dict[str, Any]] = {"data": dict(data)}
        sections |= {name: dict(options) for name, options in (more or {}).items()}
        # What is left at its default is left out, so that a default may depend on others.
        known = self.options().items()
        changed = {name: value for name, (_, default) in known if (value := getattr(self, name)) != default}
        for name, value in changed.items():
            sections.setdefault(self.options()[name][0], {})[name] = value
        place = Path(self.out) if self.out is not None else self._lasting_as_long()
        with self.in_words_of_python():
            config = self.description.part("config").build(sections)
            idle = config.idle()
            for name in changed.keys() & idle.keys():
                raise ConfigError(f"{name}={changed[name]!r} would do nothing: it belongs to {idle[name]}.")
            return self.description.part("set_up")(place, config, force=force, **given)

    def _train(self, run: Run[Any]) -> None:
        """Train a run to its end, and take what it has learnt."""
        config = run.config()
        with self.in_words_of_python():
            task = self.description.part("build")(run, config)
            outcome = TrainingLoop(task, config.training, run, join_processes(config.training)).train()
        if outcome.interrupted:
            raise KeyboardInterrupt
        self._take(run)

    def _lasting_as_long(self) -> Path:
        """A place for a run that goes with this object; `save` keeps it."""
        folder = mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder, "run")

    @property
    def _run(self) -> Any:
        """The run of the last `fit`.

        Raises:
            ConfigError: there was none.
        """
        run, name = vars(self).get("run_"), type(self).__name__
        if run is None:
            raise ConfigError(f"this {name} has learnt nothing yet; call fit, or read a run with {name}.load.")
        return run
