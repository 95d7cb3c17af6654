"""The characters of a network and of a language model, where they differ."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Sequence

from gateflow.errors import ConfigError

__all__ = ["named", "refuse_strangers", "tell_of_more"]

SHOWN = 10
"""Characters that a message names."""
told = logging.getLogger(__name__)


def refuse_strangers(name: str, strangers: bool, symbols: Sequence[str], blank: int) -> None:
    """Refuse a language model, called `name`, that has nothing in common with the symbols of a network.

    Raises:
        ConfigError: they are `strangers`.
    """
    if strangers:
        own = [symbol for c, symbol in enumerate(symbols) if c != blank]
        raise ConfigError(
            f"{name} has no text in common with the network, whose characters are {named(own)}. Take a language model "
            "of texts in the same alphabet."
        )


def tell_of_more(name: str, characters: Iterable[str]) -> None:
    """Tell of characters that a language model knows and the network does not; nothing is lost by them."""
    more = sorted(characters)
    if more:
        told.info("%s knows %d characters that the network cannot write: %s", name, len(more), named(more))


def named(characters: Sequence[str]) -> str:
    """The first of some characters, with their numbers, since many look alike."""
    shown = [f"{c!r} ({_number(c)})" for c in characters[:SHOWN]]
    return ", ".join(shown) + (f" and {len(characters) - SHOWN} more" if len(characters) > SHOWN else "")


def _number(character: str) -> str:
    numbers = " ".join(f"U+{ord(c):04X}" for c in character)
    name = unicodedata.name(character, "") if len(character) == 1 else ""
    return f"{numbers} {name.lower()}".strip()
