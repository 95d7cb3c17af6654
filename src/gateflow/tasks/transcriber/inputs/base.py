"""What a kind of lines has to say: how they are read, and how they become what the network reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gateflow.data.listing import ListedFile
from gateflow.data.series import Series
from gateflow.data.source import spoken
from gateflow.data.track import Track
from gateflow.data.transcripts import transcripts
from gateflow.errors import ConfigError, DataError
from gateflow.files import write
from gateflow.tasks.channels import Channels, read_channels
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.run import REMEDY, TranscriberRun

__all__ = ["Encoder", "Input", "ListedInput"]


@dataclass(frozen=True)
class Encoder:
    """Makes lines into what the network reads, as it was fitted to those that were learnt from.

    Attributes:
        width: numbers of a step.
        longest: steps that a line may have.
        channels: how each number is scaled; None of pictures, whose ink is read as it is.
        step: how long each step is, in the unit of places; None where lines differ in it.
    """

    width: int
    longest: int
    channels: Channels | None = None
    step: float | None = None

    def end_of(self, line: Series) -> float:
        """Where the last step of a line ends, in the unit of its places."""
        times = line.times
        assert times is not None, "given by every kind of input"
        # As long as the one before it.
        last = float(times[-1] - times[-2]) if len(times) > 1 else 1.0
        return float(times[-1]) + (last if self.step is None else self.step)

    def fitting(self, line: Series) -> Series:
        """A line, if it can be read.

        Raises:
            DataError: it is too long, or has other channels.
        """
        if len(line) > self.longest:
            raise DataError(
                f"{line.place} has {len(line):,} steps, and {self.longest:,} at most are read. Cut it, or train with "
                "a larger --longest."
            )
        if line.channels != self.width:
            raise DataError(f"{line.place} has {line.channels} numbers a step, and {self.width} are read.")
        return line if self.channels is None else self.channels.fitting(line, line.place)

    def steps(self, line: Series) -> Tensor:
        """``[T, C]``: uint8 of pictures, float32 of all others."""
        return torch.from_numpy(np.array(line.values) if self.channels is None else self.channels.read(line))


class Input(ABC):
    """A kind of lines.

    Attributes:
        one, many: what they are called.
        unit: what a place in a line is counted in.
        is_picture: whether neighbours within a step are neighbours in space, which convolutions make use of.
    """

    one: ClassVar[str]
    many: ClassVar[str]
    unit: ClassVar[str]
    is_picture: ClassVar[bool]

    @abstractmethod
    def read(
        self, path: Path, config: TranscriberConfig, *, skip_bad: bool = False, track: Track | None = None
    ) -> Iterator[Series]:
        """Yield all lines, with their texts as labels and, as times, where each step begins in `unit`.

        Raises:
            ConfigError: a package is not installed.
            DataError: nothing is there, or a file cannot be read.
        """

    def read_files(
        self,
        files: Sequence[ListedFile],
        where: str,
        config: TranscriberConfig,
        *,
        skip_bad: bool = False,
        track: Track | None = None,
    ) -> Iterator[Series]:
        """Yield the line of each of some files, which are called `where` together.

        Raises:
            ConfigError: a package is not installed, or lines of this kind have no files of their own.
            DataError: a file cannot be read.
        """
        raise ConfigError(f"{self.many} stand in one file together; give its name, or the lines themselves.")

    def fitted(self, config: TranscriberConfig, train: Sequence[Series]) -> Encoder:
        """An encoder for lines like these: with mean and deviation of each number of a step."""
        channels = Channels.of(train, "channel")
        return Encoder(channels.width, config.data.longest, channels)

    @abstractmethod
    def augment(self, config: TranscriberConfig) -> nn.Module | None:
        """What varies lines in training, ``augment(steps, lengths)``; None for nothing."""

    def write(self, encoder: Encoder, run: TranscriberRun) -> None:
        """Keep in the run what `load` reads."""
        if encoder.channels is not None:
            write(run.channels_file, encoder.channels.model_dump_json(indent=1) + "\n")

    def load(self, run: TranscriberRun) -> Encoder:
        """The encoder that `write` has kept.

        Raises:
            RunError: a file is missing, damaged, or none.
        """
        channels = read_channels(run.unharmed(run.channels_file, REMEDY), REMEDY)
        return Encoder(channels.width, run.config().data.longest, channels)


class ListedInput(Input):
    """A kind of lines of which each has a file of its own, in a list or in a folder with the texts beside.

    Attributes:
        endings: of the files.
        file: what one of them is called.
    """

    endings: ClassVar[Collection[str]]
    file: ClassVar[str]

    def read(
        self, path: Path, config: TranscriberConfig, *, skip_bad: bool = False, track: Track | None = None
    ) -> Iterator[Series]:
        """Yield the line of each file; see `gateflow.data.transcripts.transcripts`."""
        files = transcripts(path, self.endings, what=self.file)
        return self.read_files(files, spoken(path), config, skip_bad=skip_bad, track=track)
