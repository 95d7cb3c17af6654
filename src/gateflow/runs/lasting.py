"""What a network was made by, and shapes of weights do not tell: it is kept with them, and compared when they are read.

With ``heads = 2`` in the place of 4, another cell of as many gates, or a cell of one's own whose equations have become
others, the same weights fit, and answer otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from gateflow.cells import Cell
from gateflow.cells.answers import answer
from gateflow.errors import RunError
from gateflow.layers.find import cells_in, has_cells
from gateflow.runs.config import RunConfig, in_toml

__all__ = ["EQUATIONS", "OPTIONS", "UNTOLD", "MadeBy"]

# The names in a file's metadata.
OPTIONS, EQUATIONS = "options", "equations"
# Of float64 sums in another order, on another machine.
_NEAR = 1e-9


@dataclass(frozen=True)
class MadeBy:
    """What a file of weights says it was made by; files of older versions say nothing, and are believed.

    Attributes:
        options: those that decide what is read and what is computed of it, in JSON.
        equations: of each kind of cell what it answers to fixed numbers, in JSON; see `gateflow.cells.answers`.

    Example:
        >>> from gateflow import Recurrent
        >>> from gateflow.tasks.language_model.config import LanguageModelConfig
        >>> config = LanguageModelConfig.build({"data": {"train": "corpus.txt"}, "model": {"model": "transformer"}})
        >>> made = MadeBy.of(config, Recurrent("lstm", 3, 4))
        >>> kept = json.loads(made.options)
        >>> kept["model.heads"], "model.dropout" in kept, "training.lr" in kept
        (4, False, False)
        >>> list(json.loads(made.equations))
        ['LSTM']
    """

    options: str | None = None
    equations: str | None = None

    @classmethod
    def of(cls, config: RunConfig, model: nn.Module) -> Self:
        """What a network is made by that is built today."""
        answers = {name: found for name, found in _answers(model).items() if found is not None}
        return cls(json.dumps(config.lasting()), json.dumps(answers))

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Self:
        """What the metadata of a file say."""
        return cls(metadata.get(OPTIONS), metadata.get(EQUATIONS))

    def metadata(self) -> dict[str, str]:
        """What there is, as a file keeps it."""
        found = {OPTIONS: self.options, EQUATIONS: self.equations}
        return {name: text for name, text in found.items() if text is not None}

    @property
    def is_whole(self) -> bool:
        """Whether a file says all of it."""
        return None not in (self.options, self.equations)

    def or_else(self, other: MadeBy) -> MadeBy:
        """This, and where it says nothing the other."""
        return MadeBy(self.options or other.options, self.equations or other.equations)

    def refuse_other_options(self, config: RunConfig, file: Path, config_file: Path) -> None:
        """Refuse weights that were made by other options than a configuration has.

        Args:
            config: what config.toml asks for.
            file: where the weights are.
            config_file: where the configuration is.

        Raises:
            RunError: an option has changed, or what is kept is none.
        """
        if self.options is None:
            return
        kind = type(config)
        new_names = {f"{section}.{old}": f"{section}.{new}" for (section, old), new in kind.renamed.items()}
        made = {new_names.get(name) or name: value for name, value in _read(self.options, "options", file).items()}
        for name, asked in config.lasting().items():
            # An option that was not there when the weights were made does by default what was done then.
            had = made.get(name, config.default_of(name))
            if asked != had or type(asked) is not type(had):
                section, _, option = name.partition(".")
                raise RunError(
                    f"[{section}] in {config_file} has {_in_words(option, asked)}, and {file} was made with "
                    f"{_in_words(option, had)}: its numbers mean something else then. Write that there again, or train "
                    "a new run."
                )

    def refuse_other_equations(self, model: nn.Module, file: Path) -> None:
        """Refuse weights that were made by other equations than the cells of a network have.

        Raises:
            RunError: a cell answers otherwise than it did, or no more, or what is kept is no answers.
        """
        if self.equations is None:
            return
        made, found = _read(self.equations, "equations", file), _answers(model)
        # A class may have got another name; what could not be asked then is believed.
        renamed = [answers for name, answers in found.items() if name not in made]
        for name, answers in made.items():
            if not any(_alike(answers, other) for other in ([found[name]] if name in found else renamed)):
                shown = name if name in found else f"{name!r:.80}"  # of the file, which may say anything
                raise RunError(
                    f"{file} was made by other equations of {shown} than it has now: one step over fixed numbers gives "
                    "others than it gave then, or none. Give the cell the equations that it had, or train a new run."
                )


UNTOLD = MadeBy()
"""What a file of an older version says."""


def _answers(model: nn.Module) -> dict[str, list[float] | None]:
    """By the name of its class, of each kind of cell the first; None of one that cannot be asked."""
    cells = cells_in(model) if has_cells(model) else {}
    first: dict[type[Cell], Cell] = {}
    for cell in cells.values():
        first.setdefault(type(cell), cell)
    found: dict[str, list[float] | None] = {}
    for kind, cell in first.items():
        # Two modules may each have a class of this name.
        numbers = (f"{kind.__qualname__} {k}" for k in range(2, len(first) + 1))
        name = next(name for name in (kind.__qualname__, *numbers) if name not in found)
        answers = answer(cell)
        found[name] = None if answers is None else list(answers)
    return dict(sorted(found.items()))


def _alike(made: Any, found: list[float] | None) -> bool:
    if found is None or not isinstance(made, list) or len(made) != len(found):
        return False
    return all(
        isinstance(a, float) and math.isclose(a, b, rel_tol=_NEAR, abs_tol=_NEAR)
        for a, b in zip(made, found, strict=True)
    )


def _read(kept: str, what: str, file: Path) -> dict[str, Any]:
    try:
        made: Any = json.loads(kept)
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict):
        raise RunError(f"{file} is damaged: what it says of its {what} is no list of them; restore it from a copy.")
    return made


def _in_words(option: str, value: Any) -> str:
    return f"no {option}" if value is None else f"{option} = {in_toml(value)}"
