"""The folder of an agreement run: what every run has; its sentences come from a grammar and a seed."""

from __future__ import annotations

from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.agreement.config import AgreementConfig

__all__ = ["AgreementRun"]


class AgreementRun(Run[AgreementConfig]):
    """A run of the task ``agreement``.

    Example:
        >>> from pathlib import Path
        >>> AgreementRun(Path("runs/mine")).own_files
        ()
    """

    kind: ClassVar = AgreementConfig
