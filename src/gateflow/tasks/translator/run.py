"""The folder of a translator's run: what every run has, its vocabularies, and the pairs of its two parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.translator.config import TranslatorConfig

__all__ = ["TranslatorRun"]


class TranslatorRun(Run[TranslatorConfig]):
    """A run of the task ``translator``.

    ::

        RUN/source.json         the tokens of sources
        RUN/target.json         those of targets; none where both sides share one vocabulary
        RUN/features.json       what else is told of sources, if anything is
        RUN/lengths.json        how long targets are
        RUN/data/train.jsonl    the pairs to learn from
        RUN/data/valid.jsonl    those to validate on

    Example:
        >>> TranslatorRun(Path("runs/mine")).pairs_file("valid").as_posix()
        'runs/mine/data/valid.jsonl'
    """

    kind: ClassVar = TranslatorConfig
    own_files: ClassVar = (
        "source.json",
        "target.json",
        "features.json",
        "lengths.json",
        "data/train.jsonl",
        "data/valid.jsonl",
    )

    def tokens_file(self, side: str) -> Path:
        """The tokens of ``source``, ``target`` or ``features``."""
        return self.path / f"{side}.json"

    @property
    def lengths_file(self) -> Path:
        """How long targets are."""
        return self.path / "lengths.json"

    def pairs_file(self, part: str) -> Path:
        """The pairs of ``train`` or ``valid``."""
        return self.path / "data" / f"{part}.jsonl"
