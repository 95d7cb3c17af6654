"""Sounds: log-mel spectrograms, which are series of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gateflow.data.lines import blocks_of
from gateflow.data.series import Series
from gateflow.data.sounds.augmentation import SpecAugment
from gateflow.data.sounds.reading import read_sounds
from gateflow.data.track import Track
from gateflow.errors import ConfigError
from gateflow.tasks.channels import Channels, read_channels
from gateflow.tasks.classifier.config import ClassifierConfig, SoundsConfig
from gateflow.tasks.classifier.inputs.base import AS_TRAINED, REMEDY, Asked
from gateflow.tasks.classifier.inputs.series import (
    SeriesEncoder,
    SeriesInput,
    refuse_column_of_texts,
    refuse_unlabelled,
    with_several,
)
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import CHUNK
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Targets

__all__ = ["SoundEncoder", "SoundInput"]


class SoundEncoder(SeriesEncoder):
    """A series like any other, but for what is blotted out in training."""

    def model(self, config: ClassifierConfig, targets: Targets) -> ClassifierModel:
        """With SpecAugment, if that is asked for."""
        model = super().model(config, targets)
        model.augment = SpecAugment(bands=config.sounds.bands) if config.sounds.augment else None
        return model


class SoundInput(SeriesInput):
    """A folder for each class, a list, or a file; see `gateflow.data.sounds.recordings.recordings`."""

    one: ClassVar = "sound"
    many: ClassVar = "sounds"

    def read(
        self, path: Path, config: ClassifierConfig, asked: Asked = AS_TRAINED, track: Track | None = None
    ) -> list[Series]:
        """The spectrograms of all recordings."""
        refuse_column_of_texts(asked, "hears sounds")
        if asked.label or config.data.label:
            raise ConfigError("--label names a column of a table; of sounds a list calls the column itself label.")
        if config.data.group is not None:
            raise ConfigError("--group names a column of a table; of sounds a list calls the column itself group.")
        found = list(_spectrograms(path, config.sounds, track))
        if not asked.labelled:
            return found
        refuse_unlabelled(found, config, path, "Put it into a folder of its class, or give a list.")
        return [with_several(series, config.data.separator) for series in found] if config.data.multi_label else found

    def stream(self, path: Path, config: ClassifierConfig, asked: Asked) -> Iterator[Sequence[Series]]:
        """Blocks of recordings, as they are read."""
        refuse_column_of_texts(asked, "hears sounds")
        yield from blocks_of(_spectrograms(path, config.sounds), CHUNK)

    def called(self, example: Series) -> dict[str, Any]:
        """The file's name, as it was written."""
        return {"sound": example.name}

    def fitted(self, config: ClassifierConfig, train: Sequence[Series], folder: Path) -> SoundEncoder:
        """Means and deviations of the bands."""
        return SoundEncoder(Channels.of(train, "channel"), config.data.longest)

    def load(self, run: ClassifierRun) -> SoundEncoder:
        """Out of the run's channels.json."""
        return SoundEncoder(read_channels(run.unharmed(run.channels_file, REMEDY), REMEDY), run.config().data.longest)


def _spectrograms(path: Path, config: SoundsConfig, track: Track | None = None) -> Iterator[Series]:
    shown = {} if track is None else {"track": track}
    return read_sounds(path, config.features(), skip_bad=config.skip_bad, **shown)
