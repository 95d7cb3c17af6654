"""Single examples of what a model was given, which a task adds to the report of its run: its worst lines, for one."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Excerpt", "Excerpts"]


@dataclass(frozen=True)
class Excerpt:
    """One example.

    Args:
        name: what it is called.
        words: what is said of it, each with what it is, such as ``("right", "the cat")``.
        picture: of it, as a PNG file; none where it has none.

    Example:
        >>> Excerpt("a.png", [("right", "cat")], b"PNG").source
        'data:image/png;base64,UE5H'
    """

    name: str
    words: Sequence[tuple[str, str]]
    picture: bytes = b""

    @property
    def source(self) -> str:
        """The picture as a page holds it within itself."""
        return f"data:image/png;base64,{b64encode(self.picture).decode()}" if self.picture else ""


@dataclass(frozen=True)
class Excerpts:
    """Some examples under one heading: ``dataclasses.replace(report, excerpts=(excerpts,))`` adds them to a page.

    Args:
        title: heading of their section on the page.
        reading: how they were chosen.
        items: in their order.

    Example:
        >>> items = [Excerpt("a.png", [("right", "cat"), ("given", "hat")])]
        >>> found = Excerpts("The worst lines", "Of 10 lines.", items)
        >>> found.to_dict()["items"]
        [{'name': 'a.png', 'right': 'cat', 'given': 'hat'}]
    """

    title: str
    reading: str
    items: Sequence[Excerpt]

    def to_dict(self) -> dict[str, Any]:
        """As texts, for JSON; without pictures."""
        items = [{"name": item.name, **dict(item.words)} for item in self.items]
        return {"title": self.title, "reading": self.reading, "items": items}
