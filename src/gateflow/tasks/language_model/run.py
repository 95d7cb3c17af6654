"""The folder of a language model: what its set-up makes, and what every run has.

::

    RUN/tokenizer.json                 text ↔ tokens
        tokens/train.npy, valid.npy    the texts as token ids, memory-mapped
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.language_model.config import LanguageModelConfig

__all__ = ["LanguageModelRun"]


class LanguageModelRun(Run[LanguageModelConfig]):
    """A run of the task ``lm``.

    Example:
        >>> LanguageModelRun(Path("runs/wt2")).tokens_file("train").as_posix()
        'runs/wt2/tokens/train.npy'
    """

    kind: ClassVar = LanguageModelConfig
    # Made once by the set-up; a changed token would be another text to learn from.
    own_files: ClassVar = ("tokenizer.json", "tokens/train.npy", "tokens/valid.npy")

    @property
    def tokenizer_file(self) -> Path:
        """Text ↔ tokens."""
        return self.path / "tokenizer.json"

    def tokens_file(self, part: str) -> Path:
        """Token ids of ``train`` or ``valid``."""
        return self.path / "tokens" / f"{part}.npy"
