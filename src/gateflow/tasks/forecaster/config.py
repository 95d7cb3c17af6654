"""The options of a forecaster: where its series lie, what is forecast from what, and its network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from gateflow.runs.config import MOST_STEPS, ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.network import MOST_UNITS, LayersConfig

if TYPE_CHECKING:  # numpy takes a tenth of a second, and a wrong word on the command line is answered without it
    from gateflow.data.series.table import Columns

# Steps ahead that one forecast covers, and steps of a season; hours of a year are 8,766.
MOST_AHEAD = 1 << 14


class SeriesConfig(ConfigSection):
    """Where the series lie, and which of their channels are what."""

    train: Path = Field(description="Series: a table in long form (CSV), .ts or .npz; plain or gz.")
    held_out: Share = Field(default=0.2, gt=0, description="Share of each series' last steps to validate on.")
    series: str | None = Field(default=None, description="Column that tells the series of a table apart.")
    time: str | None = Field(default=None, description="Column of a table with the times of the steps.")
    target: str = Field(default="", description="Channels to forecast, such as load,price. All others if left out.")
    past: str = Field(default="", description="Channels that are known up to now only, and are not forecast.")
    future: str = Field(default="", description="Channels that are known ahead, such as holiday.")
    horizon: int = Field(default=24, ge=1, le=MOST_AHEAD, description="Steps ahead that a forecast covers.")
    season: int = Field(default=1, ge=1, le=MOST_AHEAD, description="Steps after which a pattern comes again; 1: none.")
    calendar: bool = Field(default=True, description="Read hour, weekday and day of the year out of dates.")
    quantiles: str = Field(default="0.1,0.5,0.9", description="Which quantiles are forecast; 0.5 is one of them.")

    changeable: ClassVar = frozenset({"series", "time"})

    @field_validator("quantiles", mode="before")
    @classmethod
    def _may_be_a_list(cls, value: Any) -> Any:
        return ",".join(f"{float(q):g}" for q in value) if isinstance(value, list | tuple) else value

    @field_validator("quantiles")
    @classmethod
    def _are_quantiles(cls, value: str) -> str:
        try:
            found = [float(part) for part in value.split(",")]
        except ValueError:
            raise ValueError("quantiles are numbers between 0 and 1, such as 0.1,0.5,0.9") from None
        if not all(0 < q < 1 for q in found) or found != sorted(set(found)) or 0.5 not in found:
            raise ValueError("quantiles rise from above 0 to below 1, and 0.5 is one of them")
        return value

    def named(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The channels of target, past and future; none where none is named."""
        target, past, future = (
            tuple(filter(None, map(str.strip, text.split(",")))) for text in (self.target, self.past, self.future)
        )
        return target, past, future

    def columns(self, channels: Sequence[str] = ()) -> Columns:
        """Which columns of a table are read: those that are named, if a target is; else all may be targets.

        Args:
            channels: those that a run reads, if there is one.
        """
        from gateflow.data.series.table import Columns

        target, past, future = self.named()
        channels = channels or (*target, *past, *future) * bool(target)
        named_by = "--target, --past and --future"
        return Columns(
            self.series, self.time, channels=tuple(dict.fromkeys(channels)), labelled=False, named_by=named_by
        )

    def levels(self) -> tuple[float, ...]:
        """The quantiles as numbers."""
        return tuple(float(part) for part in self.quantiles.split(","))


class ForecasterNetworkConfig(LayersConfig):
    """The network: recurrent layers over what has been, and a forecast from each of their states."""

    hidden_size: int = Field(default=64, ge=1, le=MOST_UNITS, description="Units per layer.")
    dropout: Share = Field(default=0.1, description="Share of activations dropped, alike for a series.")


class ForecasterTraining(TrainingConfig):
    """The optimisation, with the defaults of a forecaster."""

    window: int = Field(default=168, ge=2, le=1 << 20, description="Steps that training reads of a series at a time.")
    # A series of some thousand steps is a dozen stretches: in larger batches, or fewer passes, little is learnt.
    batch_size: int = Field(default=8, ge=1, le=MOST_STEPS, description="Stretches side by side.")
    epochs: Count = Field(default=200, description="Passes over the series.")
    lr: float = Field(default=3e-3, gt=0, description="Peak learning rate.")
    patience: Count | None = Field(
        default=30, description="Stop early after so many validations in a row without a better one."
    )


class ForecasterConfig(RunConfig):
    """The content of a forecaster's config.toml.

    Example:
        >>> ForecasterConfig.build({"data": {"train": "load.csv", "season": 24}}).data.levels()
        (0.1, 0.5, 0.9)
    """

    task: Literal["forecaster"] = "forecaster"
    data: SeriesConfig
    model: ForecasterNetworkConfig = ForecasterNetworkConfig()
    training: ForecasterTraining = ForecasterTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
