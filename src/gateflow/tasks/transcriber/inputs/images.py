"""Pictures of lines: ink by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from gateflow.data.images.augmentation import LineAugment
from gateflow.data.images.lines import LineImage, read_line_images
from gateflow.data.images.pixels import IMAGES
from gateflow.data.listing import ListedFile
from gateflow.data.series import Series
from gateflow.data.track import Track
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs.base import Encoder, ListedInput
from gateflow.tasks.transcriber.run import TranscriberRun

__all__ = ["ImageInput"]


class ImageInput(ListedInput):
    """PNG, JPEG, TIFF and the like; see `gateflow.data.images.lines.LineImage`."""

    one: ClassVar = "image"
    many: ClassVar = "images"
    unit: ClassVar = "columns"
    is_picture: ClassVar = True
    endings: ClassVar = IMAGES
    file: ClassVar = "image"

    def read_files(
        self,
        files: Sequence[ListedFile],
        where: str,
        config: TranscriberConfig,
        *,
        skip_bad: bool = False,
        track: Track | None = None,
    ) -> Iterator[Series]:
        """Yield the ink of each picture."""
        form = LineImage(config.images.height, config.images.ink)
        shown = {} if track is None else {"track": track}
        return read_line_images(files, where, form, skip_bad=skip_bad, **shown)

    def fitted(self, config: TranscriberConfig, train: Sequence[Series]) -> Encoder:
        """Nothing is fitted: each picture's contrast is stretched by itself."""
        return Encoder(config.images.height, config.data.longest)

    def load(self, run: TranscriberRun) -> Encoder:
        """Out of config.toml."""
        return self.fitted(run.config(), ())

    def augment(self, config: TranscriberConfig) -> LineAugment:
        """Slant, place, size, blots and noise."""
        return LineAugment()
