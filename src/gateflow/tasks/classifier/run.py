"""The folder of a classifier's run: what every run has, its labels and tokens, and the texts of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.classifier.config import ClassifierConfig

__all__ = ["ClassifierRun"]


class ClassifierRun(Run[ClassifierConfig]):
    """A run of the task ``classifier``.

    ::

        RUN/labels.json         the labels, by number
        RUN/vocabulary.json     words or characters, by number; or
        RUN/tokenizer.json      of BPE, its merges
        RUN/data/train.jsonl    the texts to learn from with their labels, an object a line
        RUN/data/valid.jsonl    those to validate on
        RUN/data/test.jsonl     those of the fold, which training does not see

    Example:
        >>> ClassifierRun(Path("runs/mine")).texts_file("valid").as_posix()
        'runs/mine/data/valid.jsonl'
    """

    kind: ClassVar = ClassifierConfig
    own_files: ClassVar = (
        "labels.json",
        "vocabulary.json",
        "tokenizer.json",
        "data/train.jsonl",
        "data/valid.jsonl",
        "data/test.jsonl",
    )

    @property
    def labels_file(self) -> Path:
        """Labels by number."""
        return self.path / "labels.json"

    @property
    def vocabulary_file(self) -> Path:
        """Words or characters by number."""
        return self.path / "vocabulary.json"

    @property
    def tokenizer_file(self) -> Path:
        """Merges and tokens of BPE."""
        return self.path / "tokenizer.json"

    def texts_file(self, part: str) -> Path:
        """The texts of ``train``, ``valid`` or ``test``."""
        return self.path / "data" / f"{part}.jsonl"
