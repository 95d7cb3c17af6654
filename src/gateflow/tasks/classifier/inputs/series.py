"""Series of numbers: ``.ts``, tables, NumPy's files and images; scaled as the training part was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gateflow import cells
from gateflow.cells import Cell
from gateflow.data.lines import blocks_of
from gateflow.data.series import Series, read_series
from gateflow.data.series.packed import packed, unpacked
from gateflow.data.series.reading import are_images
from gateflow.data.series.table import Columns
from gateflow.data.source import spoken
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.files import write
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs.base import AS_TRAINED, REMEDY, Asked, Encoder, Input
from gateflow.tasks.classifier.inputs.channels import Channels, Scale, read_channels
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import CHUNK
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Targets

__all__ = ["SeriesEncoder", "SeriesInput", "refuse_unlabelled", "with_several"]


class SeriesEncoder(Encoder[Series]):
    """What the layers read of a series.

    Args:
        channels: how each is read.
        longest: steps that are read of a series, from its first.
    """

    def __init__(self, channels: Channels, longest: int) -> None:
        self.channels, self.longest = channels, longest

    def fitting(self, example: Series) -> Series:
        """With the channels of the training, in their order."""
        return self.channels.fitting(example, example.place)

    def steps(self, example: Series) -> Tensor:
        """Values, ``[T, width]``."""
        return torch.from_numpy(self.channels.read(example)[: self.longest])

    def elapsed(self, example: Series) -> Tensor | None:
        """Times for a cell that is told them, ``[T]``."""
        found = self.channels.elapsed(example)
        return None if found is None else torch.from_numpy(found[: self.longest])

    def names(self, example: Series) -> list[str]:
        """Numbers of steps, from 1."""
        return [str(i + 1) for i in range(min(len(example), self.longest))]

    def model(self, config: ClassifierConfig, targets: Targets) -> ClassifierModel:
        """A network over the values themselves."""
        network = config.model
        model = ClassifierModel(
            self.channels.width,
            bidirectional=network.bidirectional,
            read_out=network.read_out,
            **targets.for_network(),
            **network.of_layers(),
        )
        return network.with_initial_weights(model)

    def write(self, run: ClassifierRun) -> None:
        """As channels.json."""
        write(run.channels_file, self.channels.model_dump_json(indent=1) + "\n")


class SeriesInput(Input[Series]):
    """Files of `gateflow.data.series.read_series`."""

    one: ClassVar = "series"
    many: ClassVar = "series"
    steps: ClassVar = "steps"
    suffix: ClassVar = ".safetensors"

    def read(self, path: Path, config: ClassifierConfig, asked: Asked = AS_TRAINED, track: Any = None) -> list[Series]:
        """All series of a file."""
        data, wanted = config.data, config.series
        columns = Columns(
            series=wanted.series,
            time=wanted.time,
            label=asked.label or data.label,
            channels=tuple(filter(None, map(str.strip, wanted.channels.split(",")))),
            per_step=data.per_step,
            group=data.group if asked.labelled else None,
        )
        # The order of permuted pixels is the same whatever the seed of a training: the task is then the same.
        found = list(read_series(path, columns=columns, order=wanted.order))
        if asked.labelled:
            refuse_unlabelled(found, data.per_step, path)
        return [with_several(series, data.separator) for series in found] if data.multi_label else found

    def stream(self, path: Path, config: ClassifierConfig, text: str | None) -> Iterator[Sequence[Series]]:
        """Blocks of a file's series."""
        if text is not None:
            raise ConfigError("--text names a column of texts, and this classifier reads series; leave it out.")
        yield from blocks_of(self.read(path, config, Asked(labelled=False)), CHUNK)

    def called(self, example: Series) -> dict[str, Any]:
        """Its name, or its place in the file."""
        return {"series": example.name or example.place}

    def fitted(self, config: ClassifierConfig, train: Sequence[Series], folder: Path) -> SeriesEncoder:
        """Means and deviations of the series that are learnt from."""
        asked = config.series
        cell = cells.get(config.model.cell)
        if asked.missing == "cell" and not _reads_missing(cell):
            raise ConfigError(
                f"--missing cell leaves missing values to the cell, and {config.model.cell} makes NaN of them; take "
                "--cell gru_d, or --missing mask."
            )
        scale: Scale = asked.scale if asked.scale != "auto" else _usual(config.data.train)
        channels = Channels.of(train, scale, leaves_missing=asked.missing == "cell", times=cell.takes_dt)
        return SeriesEncoder(channels, config.data.longest)

    def load(self, run: ClassifierRun) -> SeriesEncoder:
        """Out of the run's channels.json."""
        return SeriesEncoder(read_channels(run.unharmed(run.channels_file, REMEDY), REMEDY), run.config().data.longest)

    def write_part(self, file: Path, examples: Sequence[Series]) -> None:
        """As tensors."""
        write(file, packed(examples))

    def read_part(self, file: Path) -> list[Series]:
        """The series of `write_part`."""
        return unpacked(file)

    def tell(self, train: Sequence[Series], encoder: Encoder[Series]) -> None:
        """Say of how many series not all is read, and which have no value at all."""
        if cut := sum(len(series) > encoder.longest for series in train):
            _tell(
                f"{cut:,} of the {len(train):,} series to learn from have more than {encoder.longest:,} steps, and the "
                "rest of them is not read; --longest reads more."
            )
        if empty := sum(not np.isfinite(series.values).any() for series in train):
            _tell(f"{empty:,} of the {len(train):,} series to learn from have no value at all.")


def with_several(series: Series, separator: str) -> Series:
    """The series with all labels that its own holds."""
    parts = filter(None, map(str.strip, (series.label or "").split(separator)))
    return replace(series, label=None, several=tuple(dict.fromkeys(parts)))


def _reads_missing(cell: type[Cell]) -> bool:
    """Whether a cell finds its state without a value to read."""
    return all(bool(part.isfinite().all()) for part in cell(2, 3)(torch.full((1, 2), torch.nan)))


def _usual(path: Path) -> Scale:
    """Pixels are all of one kind, and those at the rim hardly ever change."""
    return "all" if path.is_file() and are_images(path) else "channel"


def refuse_unlabelled(
    found: Sequence[Series], per_step: bool, path: Path, remedy: str = "Say with --label which column has it."
) -> None:
    """Refuse what nothing can be learnt from, and nothing be judged by.

    Raises:
        DataError: there is no series, or one without a label.
    """
    if not found:
        raise DataError(f"{spoken(path)} holds no series. Give a file with some.")
    for series in found:
        where = f"{spoken(path)}, {series.place}"
        if per_step and series.step_labels is None:
            raise DataError(f"{where}: its steps have no labels of their own; leave --per-step out, or say --label.")
        if not per_step and series.label is None:
            several = series.step_labels is not None
            raise DataError(f"{where} has no label. {'Each step has one: say --per-step.' if several else remedy}")


def _tell(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=5)
