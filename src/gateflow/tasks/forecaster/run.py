"""The folder of a forecaster's run: what every run has, the roles of the channels, and the series."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gateflow.runs.run import Run
from gateflow.tasks.forecaster.config import ForecasterConfig

__all__ = ["ForecasterRun"]


class ForecasterRun(Run[ForecasterConfig]):
    """A run of the task ``forecaster``.

    ::

        RUN/layout.json         targets and covariates, and how these are scaled
        RUN/data/series.safetensors     the series, evenly spaced, and how much of each is learnt from
    """

    kind: ClassVar = ForecasterConfig
    own_files: ClassVar = ("layout.json", "data/series.safetensors")

    @property
    def layout_file(self) -> Path:
        """The roles of the channels."""
        return self.path / "layout.json"

    @property
    def series_file(self) -> Path:
        """The series."""
        return self.path / "data" / "series.safetensors"
