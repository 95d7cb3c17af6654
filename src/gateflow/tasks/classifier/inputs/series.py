"""Series of numbers: ``.ts``, tables, NumPy's files and images; scaled as the training part was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from gateflow.data.series.reading import Format, format_of
from gateflow.data.series.table import Columns
from gateflow.data.source import spoken
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.files import write
from gateflow.tasks.channels import Channels, Scale, read_channels
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs.base import AS_TRAINED, REMEDY, Asked, Encoder, Input
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import CHUNK
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Targets

__all__ = ["SeriesEncoder", "SeriesInput", "refuse_column_of_texts", "refuse_unlabelled", "with_several"]


class SeriesEncoder(Encoder[Series]):
    """What the layers read of a series.

    Args:
        channels: how each is read.
        longest: steps that are read of a series, from its first.
    """

    def __init__(self, channels: Channels, longest: int) -> None:
        self.channels, self.longest, self.channel_names = channels, longest, channels.names

    def fitting(self, example: Series) -> Series:
        """With the channels of the training, in their order.

        Warns:
            DataWarning: not all of it is read, or values are missing and none was in the training.
        """
        found = self.channels.fitting(example, example.place)
        # Without their numbers, so that each is told once.
        if len(found) > self.longest:
            _tell(f"some series have more than {self.longest:,} steps: the rest of them is not read, nor counted.")
        if self.channels.hides_missing and np.isnan(found.values).any():
            _tell("some series have missing values, and none of the training had: they are read as its mean.")
        return found

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
        refuse_column_of_texts(asked, "reads series")
        form = format_of(path)
        _refuse_idle(form, config, asked, path)
        columns = Columns(
            series=wanted.series,
            time=wanted.time,
            label=asked.label or data.label,
            channels=asked.channels or _listed(wanted.channels),
            per_step=data.per_step,
            # Of what is read later no parts are made.
            group=None if asked.channels else data.group,
            needed=asked.labelled,
        )
        # The order of permuted pixels is the same whatever the seed of a training: the task is then the same.
        found = list(read_series(path, columns=columns, order=wanted.order))
        if asked.labelled:
            refuse_unlabelled(found, config, path, _LABELS_ARE[form])
        return [with_several(series, data.separator) for series in found] if data.multi_label else found

    def stream(self, path: Path, config: ClassifierConfig, asked: Asked) -> Iterator[Sequence[Series]]:
        """Blocks of a file's series."""
        yield from blocks_of(self.read(path, config, asked), CHUNK)

    def asking(self, train: Sequence[Series]) -> Asked:
        """The same channels, where files name them."""
        return replace(super().asking(train), channels=train[0].channel_names)

    def described(self, examples: Sequence[Series]) -> str:
        """With their lengths and channels: a table that was read in another way than it was meant is seen."""
        lengths, first = [len(series) for series in examples], examples[0]
        steps = f"{min(lengths):,} to {max(lengths):,}" if min(lengths) < max(lengths) else f"{lengths[0]:,}"
        names = f" ({', '.join(first.channel_names):.80})" if first.channel_names else ""
        return f"{super().described(examples)} of {steps} steps with {first.channels} channels{names}"

    def called(self, example: Series) -> dict[str, Any]:
        """Its name, or its place in the file."""
        return {"series": example.name or example.place}

    def fitted(self, config: ClassifierConfig, train: Sequence[Series], folder: Path) -> SeriesEncoder:
        """Means and deviations of the series that are learnt from."""
        asked = config.series
        cell = cells.get(config.model.cell)
        if asked.missing == "cell" and (config.model.is_transformer or not _reads_missing(cell)):
            reader = "a Transformer" if config.model.is_transformer else config.model.cell
            raise ConfigError(
                f"--missing cell leaves missing values to the cell, and {reader} makes NaN of them; take --cell gru_d, "
                "or --missing mask."
            )
        scale: Scale = asked.scale if asked.scale != "auto" else _usual(config.data.train)
        channels = Channels.of(
            train,
            scale,
            leaves_missing=asked.missing == "cell",
            times=cell.takes_dt and not config.model.is_transformer,
            in_random_order=asked.order == "permuted",
        )
        return SeriesEncoder(channels, config.data.longest)

    def load(self, run: ClassifierRun) -> SeriesEncoder:
        """Out of the run's channels.json."""
        return SeriesEncoder(read_channels(run.unharmed(run.channels_file, REMEDY), REMEDY), run.config().data.longest)

    def write_part(self, file: Path, examples: Sequence[Series]) -> None:
        """As tensors."""
        write(file, packed(examples))

    def read_part(self, file: Path) -> list[Series]:
        """The series of `write_part`."""
        return unpacked(file)[0]

    def tell(self, train: Sequence[Series], encoder: Encoder[Series]) -> None:
        """Say of how many series not all is read, and where there is no value at all."""
        assert isinstance(encoder, SeriesEncoder)
        if cut := sum(len(series) > encoder.longest for series in train):
            _tell(
                f"{cut:,} of the {len(train):,} series to learn from have more than {encoder.longest:,} steps, and the "
                "rest of them is not read; --longest reads more."
            )
        if empty := sum(not np.isfinite(series.values).any() for series in train):
            _tell(f"{empty:,} of the {len(train):,} series to learn from have no value at all.")
        if (channels := encoder.channels).empty:
            names = [channels.names[k] if channels.names else str(k + 1) for k in channels.empty]
            _tell(
                f"no series to learn from has a value in channel {', '.join(names):.120}: it is taken for missing in "
                "other files too."
            )


_LABELS_ARE: Mapping[Format, str] = {
    "table": "Say with --label which column has it.",
    "ts": "It stands after the last colon, where @classLabel or @targetLabel is true.",
    "arrays": "An array y beside x holds the labels.",
    "images": "The file of the labels lies beside that of the images, with labels for images and idx1 for idx3 in its "
    "name.",
}


def _refuse_idle(form: Format, config: ClassifierConfig, asked: Asked, path: Path) -> None:
    """Refuse options that files of this format have nothing for: what is asked for would not be done."""
    data, wanted = config.data, config.series
    named = {"series": wanted.series, "time": wanted.time, "channels": wanted.channels}
    named |= {"group": data.group, "label": asked.label or data.label}
    for option, value in named.items():
        if value and form != "table":
            raise ConfigError(f"--{option} {value}: {spoken(path)} is no table, and has no columns with names.")
    if wanted.order != "rows" and form != "images":
        raise ConfigError(f"--order {wanted.order} is for images in the form IDX, and {spoken(path)} holds none.")


def refuse_column_of_texts(asked: Asked, does: str) -> None:
    """Refuse to look for texts."""
    if asked.text is not None:
        raise ConfigError(f"--text names a column of texts, and this classifier {does}; leave it out.")


def _listed(channels: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, channels.split(","))))


def with_several(series: Series, separator: str) -> Series:
    """The series with all labels that its own holds."""
    parts = filter(None, map(str.strip, str(series.label or "").split(separator)))
    return replace(series, label=None, several=tuple(dict.fromkeys(parts)))


def _reads_missing(cell: type[Cell]) -> bool:
    """Whether a cell finds its state without a value to read."""
    return all(bool(part.isfinite().all()) for part in cell(2, 3)(torch.full((1, 2), torch.nan)))


def _usual(path: Path) -> Scale:
    """Pixels are all of one kind, and those at the rim hardly ever change."""
    return "all" if path.is_file() and format_of(path) == "images" else "channel"


def refuse_unlabelled(found: Sequence[Series], config: ClassifierConfig, path: Path, remedy: str) -> None:
    """Refuse what nothing can be learnt from, and nothing be judged by.

    Raises:
        DataError: there is no series, or one without a label.
    """
    if not found:
        raise DataError(f"{spoken(path)} holds no series. Give a file with some.")
    for series in found:
        where = f"{spoken(path)}, {series.place}"
        if config.data.per_step and series.step_labels is None:
            raise DataError(f"{where}: its steps have no labels of their own; leave --per-step out, or say --label.")
        # An empty cell is no label, but where there may be several it is none of them.
        if not config.data.per_step and (series.label is None or (series.label == "" and not config.data.multi_label)):
            several = series.step_labels is not None
            raise DataError(f"{where} has no label. {'Each step has one: say --per-step.' if several else remedy}")


def _tell(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=5)
