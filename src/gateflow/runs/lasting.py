"""What of a configuration must stay as it was when the weights were made, and is kept with them.

Shapes do not tell it all: with ``heads = 2`` in the place of 4, or another cell of as many gates, the same weights fit,
and answer otherwise. So a file of weights says which options it was made by, and is read by no others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateflow.errors import RunError
from gateflow.runs.config import RunConfig, in_toml

__all__ = ["KEPT_AS", "lasting", "refuse_other_options"]

# The name in a file's metadata.
KEPT_AS = "options"


def lasting(config: RunConfig) -> str:
    """The options that decide what is read and what is computed of it, as a file of weights keeps them.

    Example:
        >>> from gateflow.tasks.language_model.config import LanguageModelConfig
        >>> config = LanguageModelConfig.build({"data": {"train": "corpus.txt"}, "model": {"model": "transformer"}})
        >>> kept = json.loads(lasting(config))
        >>> kept["model.heads"], "model.dropout" in kept, "training.lr" in kept
        (4, False, False)
    """
    return json.dumps(config.lasting())


def refuse_other_options(config: RunConfig, kept: str | None, file: Path, config_file: Path) -> None:
    """Refuse weights that were made by other options than a configuration has; those of older versions do not tell.

    Args:
        config: what config.toml asks for.
        kept: what the weights say they were made by, if anything.
        file: where the weights are.
        config_file: where the configuration is.

    Raises:
        RunError: an option has changed, or what is kept is none.
    """
    if kept is None:
        return
    made = _read(kept, type(config), file)
    for name, asked in config.lasting().items():
        # An option that was not there when the weights were made does by default what was done then.
        had = made.get(name, config.default_of(name))
        if asked != had or type(asked) is not type(had):
            section, _, option = name.partition(".")
            raise RunError(
                f"[{section}] in {config_file} has {_in_words(option, asked)}, and {file} was made with "
                f"{_in_words(option, had)}: its numbers mean something else then. Write that there again, or train a "
                "new run."
            )


def _read(kept: str, kind: type[RunConfig], file: Path) -> dict[str, Any]:
    try:
        made: Any = json.loads(kept)
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict):
        raise RunError(f"{file} is damaged: what it says of its options is no list of them; restore it from a copy.")
    new_names = {f"{section}.{old}": f"{section}.{new}" for (section, old), new in kind.renamed.items()}
    return {new_names.get(name) or name: value for name, value in made.items()}


def _in_words(option: str, value: Any) -> str:
    return f"no {option}" if value is None else f"{option} = {in_toml(value)}"
