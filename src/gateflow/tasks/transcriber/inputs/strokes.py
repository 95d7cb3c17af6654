"""Strokes of a pen: points at equal distances along the ink."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gateflow.data.series import Series
from gateflow.data.strokes.augmentation import StrokeAugment
from gateflow.data.strokes.reading import read_strokes
from gateflow.data.track import Track
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs.base import Input

__all__ = ["StrokeInput"]


class StrokeInput(Input):
    """JSON lines; see `gateflow.data.strokes.reading`."""

    one: ClassVar = "strokes"
    many: ClassVar = "lines of strokes"
    unit: ClassVar = "points"
    is_picture: ClassVar = False

    def read(
        self, path: Path, config: TranscriberConfig, *, skip_bad: bool = False, track: Track | None = None
    ) -> Iterator[Series]:
        """Yield the points of each line."""
        shown = {} if track is None else {"track": track}
        return read_strokes(path, config.strokes.spacing, skip_bad=skip_bad, **shown)

    def augment(self, config: TranscriberConfig) -> StrokeAugment:
        """Slant, size and trembling."""
        return StrokeAugment()
