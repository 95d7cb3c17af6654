"""The folder of a classifier's run: what every run has, what is to be found, how examples are read, and its parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.classifier.config import ClassifierConfig

__all__ = ["ClassifierRun"]


class ClassifierRun(Run[ClassifierConfig]):
    """A run of the task ``classifier``.

    ::

        RUN/labels.json         the labels, by number; or
        RUN/numbers.json        mean and deviation of the numbers that are to be found
        RUN/vocabulary.json     of texts, words or characters by number; or
        RUN/tokenizer.json      of BPE, its merges
        RUN/channels.json       of series and sounds, how each channel is scaled
        RUN/data/train.jsonl    the texts to learn from with their labels, an object a line; or
        RUN/data/train.safetensors      the series
        RUN/data/valid.*        those to validate on
        RUN/data/test.*         those of the fold, which training does not see

    Example:
        >>> ClassifierRun(Path("runs/mine")).part_file("valid", ".jsonl").as_posix()
        'runs/mine/data/valid.jsonl'
    """

    kind: ClassVar = ClassifierConfig
    own_files: ClassVar = (
        "labels.json",
        "numbers.json",
        "vocabulary.json",
        "tokenizer.json",
        "channels.json",
        *(f"data/{part}{suffix}" for part in ("train", "valid", "test") for suffix in (".jsonl", ".safetensors")),
    )

    @property
    def labels_file(self) -> Path:
        """Labels by number."""
        return self.path / "labels.json"

    @property
    def numbers_file(self) -> Path:
        """Mean and deviation of the numbers that are to be found."""
        return self.path / "numbers.json"

    @property
    def vocabulary_file(self) -> Path:
        """Words or characters by number."""
        return self.path / "vocabulary.json"

    @property
    def tokenizer_file(self) -> Path:
        """Merges and tokens of BPE."""
        return self.path / "tokenizer.json"

    @property
    def channels_file(self) -> Path:
        """How the channels of series are scaled."""
        return self.path / "channels.json"

    def part_file(self, part: str, suffix: str) -> Path:
        """The examples of ``train``, ``valid`` or ``test``."""
        return self.path / "data" / f"{part}{suffix}"
