"""A file of JSON that a set-up has written, read as what it should be; nothing in it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gateflow.errors import RunError
from gateflow.files import read_bounded

__all__ = ["read_document"]

Document = TypeVar("Document", bound=BaseModel)


def read_document(kind: type[Document], file: Path, most: int, lacks: str, remedy: str) -> Document:
    """What a file says.

    Args:
        kind: of a document it should be.
        file: where it lies.
        most: bytes that such a file may have.
        lacks: what is said of a file that is none, such as ``is no vocabulary of a tagger``.
        remedy: what to do then.

    Raises:
        RunError: it is none.
    """
    try:
        return kind.model_validate_json(read_bounded(file, most))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} is damaged: it {lacks} ({_first(error):.200}); {remedy}.") from None


def _first(error: Exception) -> str:
    """What is said first of a file that is not as it should be."""
    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)
