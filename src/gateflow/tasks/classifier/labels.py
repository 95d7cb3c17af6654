"""The labels that a classifier can give, by number; the file ``labels.json`` of its run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateflow.data.labelled import Label
from gateflow.errors import RunError
from gateflow.files import read_bounded

__all__ = ["Labels", "first_error", "read_labels"]

# Of labels.json: a million labels of ten letters.
MOST_BYTES = 1 << 24


class Labels(BaseModel):
    """All labels, whatever is classified.

    Attributes:
        names: as texts; whole numbers in their order, others in that of their letters.
        multi_label: whether one thing may have several of them, or none.
        integers: whether all of them came as numbers, and are given as such in Python.

    Example:
        >>> labels = Labels.of([10, 9, 9])
        >>> labels.names, labels.given("10")
        (('9', '10'), 10)
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    names: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    multi_label: bool = False
    integers: bool = False

    @model_validator(mode="after")
    def _has_each_once(self) -> Labels:
        if len(set(self.names)) < len(self.names):
            raise ValueError("a label stands in it twice")
        if self.integers and not all(name.removeprefix("-").isdecimal() and len(name) < 20 for name in self.names):
            raise ValueError("a label is no whole number")
        return self

    @classmethod
    def of(cls, labels: Iterable[Label], multi_label: bool = False) -> Labels:
        """All that occur."""
        found = set(labels)
        names = sorted({str(label) for label in found}, key=_in_order)
        return cls(names=tuple(names), multi_label=multi_label, integers=all(type(label) is int for label in found))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each label."""
        return {name: number for number, name in enumerate(self.names)}

    def given(self, name: str) -> Label:
        """A label as it came."""
        return int(name) if self.integers else name

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> str:
        """The text of labels.json."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=0) + "\n"


def read_labels(file: Path, remedy: str) -> Labels:
    """The labels in a file of `Labels.to_json`.

    Raises:
        RunError: there are none; the message ends in the remedy.
    """
    try:
        return Labels.model_validate_json(read_bounded(file, MOST_BYTES))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise RunError(
            f"{file} is damaged: it holds no labels of a classifier ({first_error(error):.200}); {remedy}."
        ) from None


def first_error(error: Exception) -> str:
    """What is said first of a file that is not as it should be."""
    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_input=False)[0]["msg"]
    return str(error)


def _in_order(name: str) -> tuple[int, float, str]:
    """Numbers by size and before all others, so that 10 comes after 9."""
    number = name.removeprefix("-").isdecimal() and len(name) < 16
    return (0, float(name), name) if number else (1, 0.0, name)
