"""The folder of a tagger's run: what every run has, its vocabulary, and the sentences of its two parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.tagger.config import TaggerConfig

__all__ = ["TaggerRun"]


class TaggerRun(Run[TaggerConfig]):
    """A run of the task ``tagger``.

    ::

        RUN/vocabulary.json     words, characters, and the tags of each column
        RUN/data/train.tsv      the sentences to learn from: a word a line, then its tags, as they are learnt
        RUN/data/valid.tsv      those to validate on

    Example:
        >>> TaggerRun(Path("runs/mine")).sentences_file("valid").as_posix()
        'runs/mine/data/valid.tsv'
    """

    kind: ClassVar = TaggerConfig
    own_files: ClassVar = ("vocabulary.json", "data/train.tsv", "data/valid.tsv")

    @property
    def vocabulary_file(self) -> Path:
        """Words, characters and tags by number."""
        return self.path / "vocabulary.json"

    def sentences_file(self, part: str) -> Path:
        """The sentences of ``train`` or ``valid``."""
        return self.path / "data" / f"{part}.tsv"
