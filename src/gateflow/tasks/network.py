"""The options of recurrent layers, the same in every task; a task's network has more beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from gateflow.remedies.initial_weights import Initialiser
from gateflow.runs.config import ConfigSection, InitialWeightsText, Share

if TYPE_CHECKING:  # the command line reads the options before torch is loaded
    from torch import nn

__all__ = ["MOST_LAYERS", "MOST_UNITS", "LayersConfig"]

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

    def of_layers(self) -> dict[str, Any]:
        """The options as the networks take them, and `gateflow.Recurrent` does."""
        same = {name: getattr(self, name) for name in ("cell", "hidden_size", "dropout", "weight_dropout", "skip")}
        return {**same, "num_layers": self.layers}

    def with_initial_weights(self, network: Network) -> Network:
        """The network, its recurrent weights as `init` says."""
        if self.init:
            Initialiser.parse(self.init).apply(network)
        return network
