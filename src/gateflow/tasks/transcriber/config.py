"""The options of a transcriber: where its lines lie, how each kind of them is read, its network, its training."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from gateflow.runs.config import ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.network import MOST_UNITS, LayersConfig
from gateflow.tasks.spectrograms import SpectrogramConfig


class LinesConfig(ConfigSection):
    """Where the lines lie, and what is read of them."""

    train: Path = Field(
        description="What to learn from: a list of paths and texts (TSV), a folder with x.gt.txt beside x.png, or JSON "
        "lines of pen strokes."
    )
    valid: Path | None = Field(default=None, description="Lines to validate on; else some of --data, drawn once.")
    held_out: Share = Field(default=0.1, gt=0, description="Share of lines held out when there is no --valid.")
    input: Literal["auto", "image", "sound", "strokes"] = Field(
        default="auto", description="What the lines are; auto looks at the files."
    )
    skip_bad: bool = Field(default=False, description="Leave lines out that cannot be read or learnt, and say so.")
    longest: int = Field(default=10_000, ge=1, le=1 << 20, description="Most steps of a line; a longer one is refused.")

    changeable: ClassVar = frozenset({"skip_bad", "longest"})


class ImagesConfig(ConfigSection):
    """How the picture of a line is read."""

    height: int = Field(default=48, ge=8, le=512, description="Pixels that each line is scaled to in height.")
    ink: Literal["auto", "dark", "light"] = Field(
        default="auto", description="Ink is dark on light paper, or light on dark; auto takes the rarer of both."
    )


class SoundsConfig(SpectrogramConfig):
    """How a recording is read: as the classifier reads it, with other defaults."""

    # Both look at a whole recording before its first frame is known.
    top_db: float | None = Field(
        default=None,
        gt=0,
        description="Decibels below the loudest part that are told apart. Left out, 50; all with --no-bidirectional.",
    )
    centred: bool | None = Field(  # type: ignore[assignment]  # found by `TranscriberConfig.found`
        default=None,
        description="Take each band's mean over a recording away. Left out, so it is but with --no-bidirectional.",
    )


class StrokesConfig(ConfigSection):
    """How the strokes of a pen are read."""

    spacing: float = Field(
        default=0.35, gt=0, le=10, description="From point to point along the ink, in deviations of its height."
    )


class TranscriberNetworkConfig(LayersConfig):
    """The network: convolutions that shorten a line, recurrent layers over it, and a score for each character."""

    front: Literal["conv", "none"] = Field(
        default="conv", description="Convolutions before the layers; none, and the layers read each step as it is."
    )
    front_size: int | None = Field(
        default=None, ge=1, le=4096, description="Channels of the last convolution; 48 over pictures, else 128."
    )
    reduce: Literal["1", "2", "4", "8"] | None = Field(
        default=None, description="Steps that become one: 4 columns of a picture, 2 steps of a sound or stroke."
    )
    hidden_size: int = Field(default=192, ge=1, le=MOST_UNITS, description="Units per layer and direction.")
    layers: int = Field(default=2, ge=1, le=1000, description="Recurrent layers on top of each other.")
    bidirectional: bool = Field(
        default=True, description="Read from the end too; without it a stream is transcribed as it comes."
    )
    dropout: Share = Field(default=0.3, description="Share of activations dropped, anew at each step.")


class TranscriberTraining(TrainingConfig):
    """The optimisation, with the defaults of a transcriber."""

    batch_size: int = Field(default=16, ge=1, le=1 << 20, description="Lines side by side.")
    epochs: Count = Field(default=40, description="Passes over the lines.")
    lr: float = Field(default=2e-3, gt=0, description="Peak learning rate.")
    clip: float | Literal["auto"] = Field(default=5.0, description="Largest gradient norm, or auto.")
    augment: bool = Field(
        default=True,
        description="Vary what is read: slant, place, size and blots of writing; voices of sounds, and masks.",
    )


class TranscriberConfig(RunConfig):
    """The content of a transcriber's config.toml.

    Example:
        >>> TranscriberConfig.build({"data": {"train": "lines.tsv"}, "images": {"height": 40}}).model.layers
        2
    """

    unused: ClassVar = frozenset({"window"})  # a line is read whole

    task: Literal["transcriber"] = "transcriber"
    data: LinesConfig
    images: ImagesConfig = ImagesConfig()
    sounds: SoundsConfig = SoundsConfig()
    strokes: StrokesConfig = StrokesConfig()
    model: TranscriberNetworkConfig = TranscriberNetworkConfig()
    training: TranscriberTraining = TranscriberTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def idle(self) -> dict[str, str]:
        """Those of every training; and what belongs to other lines or networks than these."""
        idle = super().idle()
        if self.data.valid:
            idle["held_out"] = "a training without --valid"
        if self.model.front == "none":
            idle |= dict.fromkeys(("front_size", "reduce"), "--front conv")
        of = {
            "image": dict.fromkeys(ImagesConfig.model_fields, "--input image"),
            "sound": dict.fromkeys(SoundsConfig.model_fields, "--input sound"),
            "strokes": dict.fromkeys(StrokesConfig.model_fields, "--input strokes"),
        }
        return idle | {name: kind for other, names in of.items() if other != self.kind for name, kind in names.items()}

    @property
    def kind(self) -> str:
        """What the lines are: ``image``, ``sound`` or ``strokes``; found by looking at them if it is not said.

        Raises:
            DataError: they look like none of these.
        """
        if self.data.input != "auto":
            return self.data.input
        # Not before it is asked for: the command line reads the options before anything that they name.
        from gateflow.tasks.transcriber.inputs.look import kind_of

        return kind_of(self.data.train)

    @property
    def reduction(self) -> int:
        """Steps of a line that become one step of the layers."""
        if self.model.front == "none":
            return 1
        return int(self.model.reduce) if self.model.reduce else {"image": 4, "sound": 2, "strokes": 2}[self.kind]

    @property
    def front_size(self) -> int:
        """Channels of the last convolution."""
        return self.model.front_size or (48 if self.kind == "image" else 128)

    def found(self) -> TranscriberConfig:
        """The same with what is found by looking: the kind of the lines, and a rate of sounds.

        Raises:
            DataError: the lines are of no kind, or no sound can be read.
        """
        kind = self.kind
        data, sounds = self.data.model_copy(update={"input": kind}), self.sounds
        if kind == "sound":
            whole = self.model.bidirectional
            if sounds.rate is None:
                from gateflow.tasks.transcriber.inputs.look import rate_of_most

                sounds = sounds.model_copy(update={"rate": rate_of_most(data.train)})
            if sounds.centred is None:
                sounds = sounds.model_copy(update={"centred": whole})
            if whole and "top_db" not in sounds.model_fields_set:
                sounds = sounds.model_copy(update={"top_db": 50.0})
        return self.model_copy(update={"data": data, "sounds": sounds})

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
