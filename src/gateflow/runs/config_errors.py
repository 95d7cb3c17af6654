"""A pydantic error as one line that names the option as the user wrote it.

Before: a page that begins ``1 validation error for RunConfig model.hidden_size``.
After: ``--hidden-size 0: input should be greater than or equal to 1.``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateflow.errors import among

Options = Mapping[str, Mapping[str, Any]]


def first_config_error(error: ValidationError, model: type[BaseModel], options: Options, file: Path | None) -> str:
    """The first thing wrong, and how many more there are; `options` are those of the command line."""
    details = error.errors(include_url=False)
    more = len(details) - 1
    others = f" ({more} more {'option is' if more == 1 else 'options are'} wrong.)" if more else ""
    return _config_error(details[0], model, options, file) + others


def flag(name: str) -> str:
    """The command-line option of a field; what a task learns from is its field `train`, and called ``--data``.

    Example:
        >>> flag("hidden_size"), flag("train")
        ('--hidden-size', '--data')
    """
    return "--data" if name == "train" else "--" + name.replace("_", "-")


def _config_error(detail: ErrorDetails, model: type[BaseModel], options: Options, file: Path | None) -> str:
    # A task's section, then the option; a section that is no table has a name of one part.
    section, name = (*map(str, detail["loc"]), "")[:2]
    if detail["type"] == "missing":
        place = file or "the file of --config"
        return f"{flag(name or 'train')} is missing: give it on the command line or in {place}."
    if detail["type"] == "extra_forbidden":
        return f"{_shown(name or section)} in {file}: there is no such option; {_close_match(model, section, name)}."
    typed = name in options.get(section, {})
    # Without a file it is a default that another option leaves no room for.
    of_file = f"{f'[{section}] {name}' if name else section} in {file},"
    where = flag(name) if typed or (name and file is None) else of_file
    # Pydantic's prefix for an error of our own validators.
    reason = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "literal_error":
        # Pydantic has the words of an option in a sentence of its own.
        reason = among(str(detail["input"]), re.findall(r"'([^']*)'", detail.get("ctx", {})["expected"]))
    # A switch is typed without its value.
    value = "" if typed and detail["input"] is True else f" {_shown(detail['input'])}"
    return f"{where}{value}: {reason[0].lower()}{reason[1:]}."


def _shown(value: object) -> str:
    """A value as it was written, if it is short and can be printed."""
    try:
        text = str(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if text.isprintable() and len(text) <= 80 else f"{text[:80]!r}"


def _close_match(model: type[BaseModel], section: str, name: str) -> str:
    inner = model.model_fields[section].annotation if name else model
    # Between a section and an option that are both unknown there is nothing to compare: all sections are listed.
    known = list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else []
    return among(name or section, known)
