"""Messages in the words of Python: arguments of a class, in place of the options of the command that does the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gateflow.errors import GateflowError
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag

__all__ = ["as_arguments", "flags_of", "in_python"]

_FLAG = re.compile(r"--[a-z][a-z0-9-]*")


def flags_of(config: type[RunConfig]) -> dict[str, str]:
    """The options of a task's training, as they are typed, and the argument that says the same.

    Example:
        >>> from gateflow.runs.config import RunConfig
        >>> flags = flags_of(RunConfig)
        >>> flags["--batch-size"], flags["--monitor"], flags["--no-monitor"]
        ('batch_size', 'monitor=True', 'monitor=False')
    """
    found: dict[str, str] = {}
    for section in config.sections().values():
        for name, field in section.model_fields.items():
            truth = field.annotation in (bool, bool | None)
            found[flag(name)] = f"{name}=True" if truth else name
            if truth:
                found[f"--no-{flag(name)[2:]}"] = f"{name}=False"
    return found


def in_python(text: str, flags: Mapping[str, str]) -> str:
    """The text with arguments in place of options; commands between backquotes stay, and options of other tasks.

    Example:
        >>> in_python("train it with --crf, or `gateflow train tagger --crf`", {"--crf": "crf=True"})
        'train it with crf=True, or `gateflow train tagger --crf`'
        >>> in_python("--crf perhaps: input should be a valid boolean", {"--crf": "crf=True"})
        'crf perhaps: input should be a valid boolean'
    """
    # A message that begins with an option goes on with its value.
    if (begun := _FLAG.match(text)) and begun[0] in flags:
        text = flags[begun[0]].partition("=")[0] + text.removeprefix(begun[0])
    pieces = text.split("`")
    pieces[::2] = [_FLAG.sub(lambda match: flags.get(match[0], match[0]), piece) for piece in pieces[::2]]
    return "`".join(pieces)


@contextmanager
def as_arguments(flags: Mapping[str, str]) -> Iterator[None]:
    """Within the block errors are told in the words of Python."""
    try:
        yield
    except GateflowError as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (in_python(error.args[0], flags),)
        raise
