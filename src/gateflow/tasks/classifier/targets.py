"""What a classifier is to find of an example: labels, or a number; once, or at each step.

The file ``labels.json`` or ``numbers.json`` of a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from gateflow.data.labelled import Label, Truth
from gateflow.errors import DataError
from gateflow.runs.documents import read_document

__all__ = ["IGNORED", "Kind", "Labels", "Numbers", "Targets", "known", "read_targets"]

# Of the file: a million labels of ten letters.
MOST_BYTES = 1 << 24
# Of a whole number that is given back as one: NumPy's have 64 bits.
_MOST_DIGITS = 19
Kind = Literal["label", "labels", "number"]

IGNORED = -100
"""The number of a label that counts for nothing: torch's own mark of a target that is none."""


class Targets(BaseModel):
    """What is common to labels and numbers.

    Attributes:
        per_step: whether each step has its own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    per_step: bool = False

    @property
    def kind(self) -> Kind:
        """What is found: one label, several, or a number."""
        raise NotImplementedError

    def tensor(self, labels: Sequence[Label], steps: int) -> Tensor:
        """The labels of one example as a loss needs them.

        Args:
            labels: as `Example.labels` has them.
            steps: how many steps of the example are read.

        Returns:
            A number; ``[K]`` zeros and ones where there may be several labels; with `per_step` ``[steps]`` numbers.
        """
        raise NotImplementedError

    def for_network(self) -> dict[str, Any]:
        """The options of `ClassifierModel` that follow."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The text of the file that keeps it."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=0) + "\n"


class Labels(Targets):
    """All labels, whatever is classified.

    Attributes:
        names: as texts; whole numbers in their order, others in that of their letters.
        multi_label: whether one thing may have several of them, or none.
        integers: whether all of them came as whole numbers, and are given as such in Python.
        truths: whether all of them came as truth values; likewise.

    Example:
        >>> labels = Labels.of([10, 9, 9])
        >>> labels.names, labels.given("10"), labels.tensor([10], steps=5)
        (('9', '10'), 10, tensor(1))
    """

    names: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    multi_label: bool = False
    integers: bool = False
    truths: bool = False

    @model_validator(mode="after")
    def _has_each_once(self) -> Labels:
        if len(set(self.names)) < len(self.names):
            raise ValueError("a label stands in it twice")
        if self.integers and not all(
            name.removeprefix("-").isdecimal() and len(name) < _MOST_DIGITS for name in self.names
        ):
            raise ValueError("a label is no whole number")
        if self.truths and not set(self.names) <= {"true", "false"}:
            raise ValueError("a label is no truth value")
        return self

    @classmethod
    def of(cls, labels: Iterable[Label], multi_label: bool = False, per_step: bool = False) -> Labels:
        """All that occur."""
        found = set(labels)
        names = sorted({str(label) for label in found}, key=_in_order)
        integers = all(type(label) is int for label in found) and all(map(_is_whole_number, names))
        truths = all(type(label) is Truth for label in found)
        return cls(names=tuple(names), multi_label=multi_label, integers=integers, truths=truths, per_step=per_step)

    @property
    def kind(self) -> Kind:
        """Whether there is one label or several."""
        return "labels" if self.multi_label else "label"

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each label."""
        return {name: number for number, name in enumerate(self.names)}

    def given(self, name: str) -> Label:
        """A label as it came."""
        if self.truths:
            return name == "true"
        return int(name) if self.integers else name

    def tensor(self, labels: Sequence[Label], steps: int) -> Tensor:
        """See `Targets.tensor`; one that is not known is -100, and counts for nothing."""
        numbers = [self.numbers.get(str(label), IGNORED) for label in labels]
        if self.multi_label:
            found = torch.zeros(len(self))
            found[[number for number in numbers if number != IGNORED]] = 1
            return found
        return torch.tensor(numbers[:steps]) if self.per_step else torch.tensor(numbers[0])

    def for_network(self) -> dict[str, Any]:
        """A score for each label."""
        return {"outputs": len(self), "kind": self.kind, "per_step": self.per_step}

    def __len__(self) -> int:
        return len(self.names)


class Numbers(Targets):
    """A number, which a network finds in units of its deviation in training, from its mean there.

    Attributes:
        mean, deviation: of the training part.
    """

    mean: Annotated[float, Field(allow_inf_nan=False)]
    deviation: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @classmethod
    def of(cls, numbers: Sequence[float], per_step: bool = False) -> Numbers:
        """Mean and deviation of some numbers, of which NaN are left out.

        Raises:
            DataError: there is nothing to learn: all are the same, or there is none.

        Example:
            >>> Numbers.of([1.0, 3.0]).tensor(["5"], steps=4)
            tensor(3.)
        """
        found = torch.tensor([x for x in numbers if not math.isnan(x)], dtype=torch.float64)
        # Compared, and not by their deviation: that of equal fractions need not be exactly 0.
        if len(found.unique()) < 2:
            what = f"the same number, {float(found[0]):g}" if len(found) else "no number"
            raise DataError(f"every example to learn from has {what}, so there is nothing to learn.")
        mean, deviation = float(found.mean()), float(found.std(correction=0))
        if not 0 < deviation < math.inf:
            raise DataError(
                f"the numbers to learn from, {float(found.min()):g} to {float(found.max()):g}, cannot be told apart "
                "by their squares. Give them in other units."
            )
        return cls(mean=mean, deviation=deviation, per_step=per_step)

    @property
    def kind(self) -> Kind:
        """A number."""
        return "number"

    def tensor(self, labels: Sequence[Label], steps: int) -> Tensor:
        """See `Targets.tensor`; in deviations from the mean, NaN where it is not known."""
        found = (torch.tensor([number_of(label) for label in labels], dtype=torch.float64) - self.mean) / self.deviation
        return found[:steps].float() if self.per_step else found[0].float()

    def for_network(self) -> dict[str, Any]:
        """One output."""
        return {"outputs": 1, "kind": self.kind, "per_step": self.per_step}

    def given(self, output: float) -> float:
        """The number that an output of the network means."""
        return self.mean + self.deviation * output


def number_of(label: Label) -> float:
    """A label as a number; NaN for a step that has none.

    Raises:
        ValueError: it is none, or infinite.

    Example:
        >>> number_of("2.5"), number_of("")
        (2.5, nan)
    """
    try:
        found = math.nan if label == "" else float(label)
    except OverflowError:
        found = math.inf
    if math.isinf(found):
        raise ValueError("infinite")
    return found


def known(targets: Tensor) -> Tensor:
    """Which targets are known, ``[N]``, of ``[N]`` or ``[N, K]`` ones."""
    if targets.ndim == 2:
        return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    return targets.isfinite() if targets.is_floating_point() else targets != IGNORED


def read_targets(file: Path, kind: type[Targets], remedy: str) -> Any:
    """The labels or numbers in a file of `Targets.to_json`.

    Raises:
        RunError: there are none; the message ends in the remedy.
    """
    return read_document(kind, file, MOST_BYTES, f"holds no {kind.__name__.lower()} of a classifier", remedy)


def _in_order(name: str) -> tuple[int, float, str]:
    """Numbers by size and before all others, so that 10 comes after 9."""
    # Beyond 15 digits not all are floating-point numbers.
    number = _is_whole_number(name) and len(name) < 16
    return (0, float(name), name) if number else (1, 0.0, name)


def _is_whole_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and len(name) < _MOST_DIGITS
