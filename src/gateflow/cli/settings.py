"""Command-line options made from the fields of a run's configuration, so that each is described in one place."""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from gateflow.cell_names import refuse_unknown
from gateflow.cli.output import say
from gateflow.errors import ConfigError, DataError, closest
from gateflow.remedies.initial_weights import parted
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag

# Characters of `<float>`, `all|far` and the like.
WIDEST_VALUE = 9

# Files that are looked at for a name like that of one that is missing: folders of images have millions.
MOST_NEIGHBOURS = 1000

# Section → option → value, only what was typed.
Settings = dict[str, dict[str, Any]]


def with_settings(
    kind: type[RunConfig], without: Container[str] = (), words: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb one option per field of a configuration; what was typed arrives as its argument `settings`.

    Before: ``def verb(out, settings)``. After: ``def verb(out, data, valid, ..., hidden_size, layers, ...)``.

    Args:
        kind: the task's configuration.
        without: fields that mean nothing to the verb; a verb shows what it uses.
        words: descriptions of fields that mean something else to it.
    """
    return lambda verb: _extended(verb, kind, [f for f in _fields(kind) if f[1] not in without], words)


def refuse_idle(settings: Settings, idle: Mapping[str, str]) -> None:
    """Refuse what was typed and would be ignored; in a file of --config it may stand for another time.

    Args:
        settings: what was typed.
        idle: options that others make idle, and what they belong to; see `RunConfig.idle`.

    Raises:
        ConfigError: one of them was typed.
    """
    for values in settings.values():
        for name in values:
            if name in idle:
                raise ConfigError(f"{_typed(name, values[name])} would do nothing: it belongs to {idle[name]}.")


def _typed(name: str, value: Any) -> str:
    """An option as it was typed; a truth has no value behind it."""
    if isinstance(value, bool):
        return flag(name) if value else f"--no-{flag(name)[2:]}"
    return f"{flag(name)} {value}"


def refuse_unknown_cells(config: RunConfig) -> None:
    """Refuse a cell that there is none of, before torch is imported to look.

    Raises:
        UnknownCellError: its name is none of ours, and no place of somebody's own.
    """
    for section in config.sections():
        options = getattr(config, section)
        for name in ("cell", "decoder_cell"):
            if isinstance(cell := getattr(options, name, None), str):
                refuse_unknown(cell)


def refuse_missing_files(settings: Settings, config: RunConfig) -> None:
    """Refuse a file that is typed and not there, before torch is imported to read it.

    Args:
        settings: what was typed.
        config: what it is understood as: a task may take ``train.ja,train.en`` for two files.

    Raises:
        DataError: there is none.
    """
    for section, values in settings.items():
        if not any(isinstance(value, Path) for value in values.values()):
            continue
        for name, path in getattr(config, section):
            # "-" is what is piped in. Not `exists`: what may not be looked at is told by who reads it.
            if isinstance(path, Path) and str(path) != "-" and not os.path.lexists(path) and path.parent.is_dir():
                meant = closest(path.name, (entry.name for entry in islice(path.parent.iterdir(), MOST_NEIGHBOURS)))
                hint = f" D{meant[1:].rstrip()}" if meant else ""
                raise DataError(f"{flag(name)}: {path} does not exist.{hint}")


def equations_of(text: str) -> str:
    """The cell of ``CELL`` or ``CELL:WEIGHTS``, where only its equations count.

    Raises:
        UnknownCellError: there is no such cell.
    """
    cell, weights = parted(text)
    refuse_unknown(cell)
    if weights:
        say(f"note: initial weights ({weights}) change neither equations nor speed; this is {cell}.", style="dim")
    return cell


def typed_words(settings: Settings) -> set[str]:
    """All texts that were typed for an option."""
    return {value for values in settings.values() for value in values.values() if isinstance(value, str)}


def _extended(
    verb: Callable[..., None],
    kind: type[RunConfig],
    fields: Sequence[tuple[str, str, FieldInfo]],
    told: Mapping[str, str],
) -> Callable[..., None]:
    # Resolved, since annotations are texts under `from __future__ import annotations`.
    own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "settings"]
    shown = {(section, name): field for section, name, field in fields}
    # Options of older versions work as they did, and no help shows them.
    old = [(section, name, new) for (section, name), new in kind.renamed.items() if (section, new) in shown]

    @functools.wraps(verb)
    def command(**words: Any) -> None:
        settings: Settings = {section: {} for section in kind.sections()}
        for section, name, new in [*old, *((section, name, name) for section, name in shown)]:
            # What was not typed is left out, so that a file of --config may say it.
            if (value := words.pop(_word(name))) is None:
                continue
            if new in settings[section]:
                before = next(old for old, of in kind.renamed.items() if of == new)[1]
                raise ConfigError(f"{flag(before)} is the old name of {flag(new)}, and both are typed; leave one out.")
            settings[section][new] = value
        verb(settings=settings, **words)

    parameters = [*own, *(_parameter(section, name, field, told.get(name)) for section, name, field in fields)]
    parameters += [_parameter(section, name, shown[section, new], None, hidden=True) for section, name, new in old]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _fields(kind: type[RunConfig]) -> Iterator[tuple[str, str, FieldInfo]]:
    for section, part in kind.sections().items():
        yield from ((section, name, field) for name, field in part.model_fields.items())


def _word(name: str) -> str:
    return flag(name).removeprefix("--").replace("-", "_")


def _parameter(
    section: str, name: str, field: FieldInfo, told: str | None, *, hidden: bool = False
) -> inspect.Parameter:
    kind, metavar = _kind(field.annotation)
    # Both words for a truth: an option of a file must be possible to undo.
    names = f"{flag(name)}/--no-{flag(name)[2:]}" if kind is bool else flag(name)
    words = told or field.description or ""
    if metavar is not None and len(metavar) > WIDEST_VALUE:
        # The column of values is as wide as the widest of a panel, and takes the room of all names and words.
        words, metavar = f"{words} One of {metavar.replace('|', ', ')}.", "<word>"
    if told is None and not field.is_required() and field.default not in (None, ""):
        words += f" Default: {_spoken(field.default)}."
    panel = section.capitalize()
    option = typer.Option(names, help=words, show_default=False, metavar=metavar, rich_help_panel=panel, hidden=hidden)
    return inspect.Parameter(
        _word(name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _spoken(default: object) -> str:
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)


def _kind(annotation: Any) -> tuple[type, str | None]:
    """The type that typer parses, and what stands for its values in the help."""
    if get_origin(annotation) is Literal:
        # Checked by pydantic, whose message names the option as `config_errors` does.
        return str, "|".join(get_args(annotation))
    # Two spellings of one thing: `int | None` is the former, `Annotated[int, ...] | None` the latter.
    if get_origin(annotation) in (types.UnionType, Union):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return _kind(members[0]) if len(members) == 1 else (str, None)
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    return (annotation, None) if annotation in (bool, int, float, Path) else (str, None)
