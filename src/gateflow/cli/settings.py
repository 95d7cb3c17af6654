"""Command-line options made from the fields of a run's configuration, so that each is described in one place."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateflow.errors import ConfigError
from gateflow.training.complaints import flag
from gateflow.training.config import RunConfig

Settings = dict[str, dict[str, Any]]
"""Section → option → value, only what was typed."""


PIPED = "Text to learn from, plain or gz, UTF-8; - for what is piped in."

_IDLE: dict[str, tuple[Callable[[RunConfig], bool], str]] = {
    "momentum": (lambda config: config.training.optimizer != "sgd", "--optimizer sgd"),
    "held_out": (lambda config: config.data.valid is not None, "a training without --valid"),
}
"""Settings that another one makes idle: when, and what they belong to."""


def with_settings(
    without: Container[str] = (), words: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb one option per field of `RunConfig`; what was typed arrives as its argument `settings`.

    Before: ``def verb(out, settings)``. After: ``def verb(out, data, valid, ..., hidden_size, layers, ...)``.

    Args:
        without: fields that mean nothing to the verb; a verb shows what it uses.
        words: descriptions of fields that mean something else to it.
    """
    return lambda verb: _extended(verb, [field for field in _fields() if field[1] not in without], words)


def refuse_idle(settings: Settings, config: RunConfig) -> None:
    """Refuse what was typed and would be ignored; in a file of --config it may stand for another time.

    Raises:
        ConfigError: an option that another one makes idle.
    """
    for values in settings.values():
        for name in values:
            if name in _IDLE and _IDLE[name][0](config):
                raise ConfigError(f"{flag(name)} {values[name]} would do nothing: it belongs to {_IDLE[name][1]}.")


def _extended(
    verb: Callable[..., None], fields: Sequence[tuple[str, str, FieldInfo]], told: Mapping[str, str]
) -> Callable[..., None]:
    own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "settings"]

    @functools.wraps(verb)
    def command(**words: Any) -> None:
        settings: Settings = {section: {} for section, _, _ in _fields()}
        for section, name, _ in fields:
            if (value := words.pop(_word(name))) is not None:
                settings[section][name] = value
        verb(settings=settings, **words)

    parameters = [*own, *(_parameter(section, name, field, told.get(name)) for section, name, field in fields)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for section, part in RunConfig.model_fields.items():
        if isinstance(part.annotation, type) and issubclass(part.annotation, BaseModel):
            yield from ((section, name, field) for name, field in part.annotation.model_fields.items())


def _word(name: str) -> str:
    return flag(name).removeprefix("--").replace("-", "_")


def _parameter(section: str, name: str, field: FieldInfo, told: str | None) -> inspect.Parameter:
    kind, metavar = _kind(field.annotation)
    names = f"{flag(name)}/--no-{flag(name)[2:]}" if kind is bool else flag(name)
    words = told or field.description or ""
    if told is None and not field.is_required() and field.default is not None:
        words += f" Default: {_spoken(field.default)}."
    option = typer.Option(names, help=words, show_default=False, metavar=metavar, rich_help_panel=section.capitalize())
    return inspect.Parameter(
        _word(name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _spoken(default: object) -> str:
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)


def _kind(annotation: Any) -> tuple[type, str | None]:
    """The type that typer parses, and what stands for its values in the help."""
    if get_origin(annotation) is Literal:
        return str, "|".join(get_args(annotation))
    if isinstance(annotation, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        return _kind(members[0]) if len(members) == 1 else (str, None)
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    return (annotation, None) if annotation in (bool, int, float, Path) else (str, None)
