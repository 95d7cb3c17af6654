"""Text of others on a terminal: what would steer the terminal is made visible, all that is read stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

__all__ = ["VisibleConsole", "visible"]

# C0 but for tab and newline, DEL and C1: a terminal obeys them. Separators of lines, and what turns the order of
# characters round: they show another text than there is. Halves of surrogate pairs stand in names of files that are not
# UTF-8, and no terminal can print them. Joiners, marks and direction marks are part of languages and emoji.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text with control characters spelled as Python spells them; newlines and tabs stay.

    Example:
        >>> print(visible("고양이 \x1b[2Jgone\r"))
        고양이 \x1b[2Jgone\r
    """
    return _STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def in_json(text: str) -> str:
    r"""JSON that says the same, with escapes for what would steer a terminal.

    Example:
        >>> print(in_json('["a\x9b"]'))
        ["a\u009b"]
    """
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class VisibleConsole(Console):
    """Rich's console, whose own colours and cursor movements work, and nobody else's do.

    Whatever is printed passes `render` as segments of text, cells of tables and lines of a progress bar too; what rich
    says to the terminal itself is marked as such.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        # No markup: square brackets in a text are a text.
        super().__init__(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does, but visible; rich itself would leave out some of what steers."""
        super().print(*(visible(each) if isinstance(each, str) else each for each in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, but visible."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
