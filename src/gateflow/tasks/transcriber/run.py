"""The folder of a transcriber's run: what every run has, its alphabet, how lines are scaled, and its two parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.transcriber.config import TranscriberConfig

__all__ = ["REMEDY", "TranscriberRun"]

REMEDY = "without it the weights mean nothing; restore it from a copy"
"""Of a file that tells how lines are read."""


class TranscriberRun(Run[TranscriberConfig]):
    """A run of the task ``transcriber``.

    ::

        RUN/alphabet.json               the characters, by number
        RUN/channels.json               of sounds and strokes, how each channel is scaled
        RUN/data/train.safetensors      the lines to learn from with their texts, as they are read
        RUN/data/valid.safetensors      those to validate on

    Example:
        >>> TranscriberRun(Path("runs/mine")).part_file("valid").as_posix()
        'runs/mine/data/valid.safetensors'
    """

    kind: ClassVar = TranscriberConfig
    own_files: ClassVar = ("alphabet.json", "channels.json", "data/train.safetensors", "data/valid.safetensors")

    @property
    def alphabet_file(self) -> Path:
        """Characters by number."""
        return self.path / "alphabet.json"

    @property
    def channels_file(self) -> Path:
        """How the channels of sounds and strokes are scaled."""
        return self.path / "channels.json"

    def part_file(self, part: str) -> Path:
        """The lines of ``train`` or ``valid``."""
        return self.path / "data" / f"{part}.safetensors"
