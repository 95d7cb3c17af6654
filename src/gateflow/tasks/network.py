"""The options of recurrent layers, the same in every task, and of a Transformer; a task's network has more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from gateflow.remedies.initial_weights import Initialiser
from gateflow.runs.config import ConfigSection, InitialWeightsText, Share

if TYPE_CHECKING:  # the command line reads the options before torch is loaded
    from torch import nn

__all__ = ["MOST_LAYERS", "MOST_UNITS", "EitherLayersConfig", "LayersConfig"]

# Larger than any network of this kind, and small enough for their products to be counted.
MOST_UNITS, MOST_LAYERS = 1 << 20, 1000

Network = TypeVar("Network", bound="nn.Module")


class LayersConfig(ConfigSection):
    """Recurrent layers, and how their weights begin. A task derives its own, with other defaults."""

    cell: str = Field(
        default="lstm", description="Recurrent cell, listed by `gateflow cells`; CELL:WEIGHTS for initial weights."
    )
    hidden_size: int = Field(default=256, ge=1, le=MOST_UNITS, description="Units per layer and direction.")
    layers: int = Field(default=1, ge=1, le=MOST_LAYERS, description="Recurrent layers on top of each other.")
    dropout: Share = Field(default=0.5, description="Share of activations dropped, alike for a sequence.")
    weight_dropout: Share = Field(default=0.0, description="Share of recurrent weights dropped.")
    skip: Literal["residual", "highway"] | None = Field(default=None, description="Connection around each layer.")
    init: InitialWeightsText | None = Field(
        default=None, description="Initial weights: orthogonal, identity, forget:1 or chrono:60."
    )

    changeable: ClassVar = frozenset({"dropout", "weight_dropout"})

    def of_layers(self) -> dict[str, Any]:
        """The options as the networks take them, and `gateflow.Recurrent` does."""
        same = {name: getattr(self, name) for name in ("cell", "hidden_size", "dropout", "weight_dropout", "skip")}
        return {**same, "num_layers": self.layers}

    def with_initial_weights(self, network: Network) -> Network:
        """The network, its recurrent weights as `init` says."""
        if self.init:
            Initialiser.parse(self.init).apply(network)
        return network


# Of recurrent layers alone; the monitor, an option of the training, follows gradients through them.
OF_RECURRENT = ("cell", "weight_dropout", "skip", "init", "monitor")
OF_TRANSFORMER = ("heads",)


class EitherLayersConfig(LayersConfig):
    """Recurrent layers, or in their place those of a Transformer: its width is `hidden_size`."""

    model: Literal["recurrent", "transformer"] = Field(
        default="recurrent", description="Recurrent layers of --cell, or a Transformer's, whose width is --hidden-size."
    )
    heads: int = Field(default=4, ge=1, le=1 << 10, description="Heads of a Transformer's attention.")

    @field_validator("heads")
    @classmethod
    def _cut_the_width_evenly(cls, value: int, info: ValidationInfo) -> int:
        size = info.data.get("hidden_size")
        if info.data.get("model") == "transformer" and size is not None and size % (2 * value):
            raise ValueError(
                f"--hidden-size {size} gives each {size / value:g} components, and rotary positions take pairs of "
                f"them; take a --hidden-size that {2 * value} divides, or other --heads"
            )
        return value

    @property
    def is_transformer(self) -> bool:
        """Whether the layers are those of a Transformer."""
        return self.model == "transformer"

    def of_layers(self) -> dict[str, Any]:
        """The options as the networks take them: those of the kind of layers that is asked for."""
        found = {**super().of_layers(), "model": self.model}
        if not self.is_transformer:
            return found
        left = {name: value for name, value in found.items() if name not in OF_RECURRENT}
        return left | {name: getattr(self, name) for name in self.of_transformer()}

    def with_initial_weights(self, network: Network) -> Network:
        """The network, its recurrent weights as `init` says; a Transformer has none."""
        return network if self.is_transformer else super().with_initial_weights(network)

    @classmethod
    def of_transformer(cls) -> tuple[str, ...]:
        """The options of a Transformer alone; a task may have more."""
        return OF_TRANSFORMER

    @classmethod
    def of_recurrent(cls) -> tuple[str, ...]:
        """The options of recurrent layers alone; a task may have more."""
        return OF_RECURRENT

    def idle(self) -> dict[str, str]:
        """Those of the kind that is not asked for."""
        other, names = (
            ("recurrent", self.of_recurrent()) if self.is_transformer else ("transformer", self.of_transformer())
        )
        return dict.fromkeys(names, f"--model {other}")
