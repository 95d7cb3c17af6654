"""What a kind of examples has to say: how they are read and kept, and how they become what the layers read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from gateflow.data.labelled import Label
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Targets

__all__ = ["AS_TRAINED", "REMEDY", "Asked", "Encoder", "Example", "Input"]

REMEDY = "without it the weights mean nothing; restore it from a copy"
"""Of a file that tells how examples are read."""


class Example(Protocol):
    """One thing to be classified, whatever it is."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """One; several or none of several labels; one a step where each step has one; none where it is not known."""
        ...

    @property
    def place(self) -> str:
        """Where it stands in its file, as messages say it."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for examples that are equal but for their labels."""
        ...

    @property
    def group(self) -> str | None:
        """What it belongs to, such as an author or speaker."""
        ...


E = TypeVar("E", bound=Example)


@dataclass(frozen=True)
class Asked:
    """What is wanted of a file, besides what the configuration says.

    Attributes:
        text, label: columns, if they are others than those of the training.
        labelled: whether labels are needed.
        known: labels of other files, by which a column is recognised.
        channels: columns of the numbers, where files name them.
    """

    text: str | None = None
    label: str | None = None
    labelled: bool = True
    known: Collection[str] = ()
    channels: tuple[str, ...] = ()


AS_TRAINED = Asked()
"""As the configuration has it."""


class Encoder(ABC, Generic[E]):
    """Makes examples of one kind into what the layers read, as it was fitted to those that were learnt from.

    Attributes:
        longest: steps that are read of an example, from its beginning.
        channel_names: columns that the steps are read from, where files name them.
    """

    longest: int
    channel_names: tuple[str, ...] = ()

    def fitting(self, example: E) -> E:
        """An example of another file, in the form of those of the training.

        Raises:
            DataError: it has other channels, or none of the times that the network reads.
        """
        return example

    @abstractmethod
    def steps(self, example: E) -> Tensor:
        """``[T]`` numbers of tokens, or ``[T, C]`` values."""

    def elapsed(self, example: E) -> Tensor | None:
        """``[T]``, the time since the step before, for cells that are told; none for others."""
        return None

    @abstractmethod
    def model(self, config: ClassifierConfig, targets: Targets) -> ClassifierModel:
        """The network that a configuration describes, with its initial weights."""

    @abstractmethod
    def write(self, run: ClassifierRun) -> None:
        """Keep in the run what `Input.load` reads."""

    @abstractmethod
    def names(self, example: E) -> list[str]:
        """What each of the steps that are read is called: its token, or its number from 1."""


class Input(ABC, Generic[E]):
    """A kind of examples.

    Attributes:
        one, many: what they are called.
        steps: what the steps of an example are called as data.
        suffix: of the files in which a run keeps them.
    """

    one: ClassVar[str]
    many: ClassVar[str]
    steps: ClassVar[str]
    suffix: ClassVar[str]

    @abstractmethod
    def read(self, path: Path, config: ClassifierConfig, asked: Asked = AS_TRAINED, track: Any = None) -> list[E]:
        """All examples of a file.

        Raises:
            DataError: it is missing or damaged, or holds no such examples.
        """

    @abstractmethod
    def stream(self, path: Path, config: ClassifierConfig, asked: Asked) -> Iterator[Sequence[E]]:
        """New examples without labels, as they come."""

    def asking(self, train: Sequence[E]) -> Asked:
        """What is asked of another file, so that its examples are read as those of the training."""
        return Asked(known={str(label) for example in train for label in example.labels})

    def described(self, examples: Sequence[E]) -> str:
        """How many there are, and what they are made of, as a line tells it."""
        return f"{len(examples):,} {self.many}"

    @abstractmethod
    def called(self, example: E) -> dict[str, Any]:
        """How an answer says which example it is of, as data; the first value as text."""

    @abstractmethod
    def fitted(self, config: ClassifierConfig, train: Sequence[E], folder: Path) -> Encoder[E]:
        """An encoder for examples like these.

        Args:
            config: of the run.
            train: what is learnt from, and nothing else.
            folder: where a file may be put for the time.
        """

    @abstractmethod
    def load(self, run: ClassifierRun) -> Encoder[E]:
        """The encoder that `Encoder.write` has kept.

        Raises:
            RunError: a file is missing, damaged, or none.
        """

    @abstractmethod
    def write_part(self, file: Path, examples: Sequence[E]) -> None:
        """Keep the examples of a part."""

    @abstractmethod
    def read_part(self, file: Path) -> list[E]:
        """The examples of a part, as `write_part` has kept them.

        Raises:
            DataError: the file is damaged.
        """

    def tell(self, train: Sequence[E], encoder: Encoder[E]) -> None:
        """Say what is strange about the examples to learn from.

        Warns:
            DataWarning: some are empty, or not all of them is read.
        """

    def begin(self, model: ClassifierModel, encoder: Encoder[E], config: ClassifierConfig) -> None:
        """Give a network the weights that it is to begin from, if the configuration names some."""
