"""Recordings: log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from gateflow.data.listing import ListedFile
from gateflow.data.series import Series
from gateflow.data.sounds.augmentation import SoundAugment
from gateflow.data.sounds.reading import spectrograms
from gateflow.data.sounds.recordings import SOUNDS
from gateflow.data.track import Track
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs.base import Encoder, ListedInput
from gateflow.tasks.transcriber.run import TranscriberRun

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
        features = config.sounds.features()
        for series in spectrograms(files, where, features, skip_bad=skip_bad, **shown):
            yield replace(series, times=features.times(len(series)))

    def fitted(self, config: TranscriberConfig, train: Sequence[Series]) -> Encoder:
        """An encoder for sounds like these, whose steps are all of one length."""
        return _in_seconds(super().fitted(config, train), config)

    def load(self, run: TranscriberRun) -> Encoder:
        """The encoder that `write` has kept.

        Raises:
            RunError: a file is missing, damaged, or none.
        """
        return _in_seconds(super().load(run), run.config())

    def augment(self, config: TranscriberConfig) -> SoundAugment:
        """Other voices, of which stretches of time and of bands are blotted out."""
        return SoundAugment(config.sounds.features())


def _in_seconds(encoder: Encoder, config: TranscriberConfig) -> Encoder:
    # Of a sound that is one frame no time says how long it is.
    return replace(encoder, step=float(config.sounds.features().times(2)[1]))
