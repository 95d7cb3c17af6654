"""Recordings: log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from gateflow.data.listing import ListedFile
from gateflow.data.series import Series
from gateflow.data.sounds.augmentation import SoundAugment
from gateflow.data.sounds.reading import spectrograms
from gateflow.data.sounds.recordings import SOUNDS
from gateflow.data.track import Track
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs.base import ListedInput

__all__ = ["SoundInput"]


class SoundInput(ListedInput):
    """WAV, FLAC and the like; see `gateflow.data.sounds.spectrogram.LogMel`."""

    one: ClassVar = "sound"
    many: ClassVar = "sounds"
    unit: ClassVar = "seconds"
    is_picture: ClassVar = False
    endings: ClassVar = SOUNDS
    file: ClassVar = "recording"

    def read_files(
        self,
        files: Sequence[ListedFile],
        where: str,
        config: TranscriberConfig,
        *,
        skip_bad: bool = False,
        track: Track | None = None,
    ) -> Iterator[Series]:
        """Yield the spectrogram of each recording."""
        shown = {} if track is None else {"track": track}
        for series in spectrograms(files, where, config.sounds.features(), skip_bad=skip_bad, **shown):
            yield replace(series, times=np.arange(len(series)) * config.sounds.hop)

    def augment(self, config: TranscriberConfig) -> SoundAugment:
        """Other voices, of which stretches of time and of bands are blotted out."""
        return SoundAugment(config.sounds.features())
