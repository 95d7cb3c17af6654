"""What gates do over the actual tokens: how open they are, how often saturated, and how long each unit remembers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.flow.activations import Activation, activations_of
from gateflow.flow.capture import Loss, Replay, Trace, trace_model, unchanged_buffers
from gateflow.flow.table import Printable, Share, columns, plain, sparkline

__all__ = ["Activation", "Gates", "LayerGates", "gates", "gates_of"]


@dataclass(frozen=True, eq=False)
class LayerGates:
    """The gates of one layer and direction.

    Attributes:
        name: such as `"encoder.l0"`.
        activations: by gate; what squashes the state itself, such as `tanh(c)`, is called `"state"`.
        half_lives: `[H]`, steps in which a unit's memory halves if nothing is written; none if no gate keeps.
        keeper: the gate that decides it, and whether it keeps when open (+1) or when closed (-1).
    """

    name: str
    activations: dict[str, Activation]
    half_lives: Tensor | None
    keeper: tuple[str, int] | None

    def outlasting(self, lag: int) -> Share:
        """Of all that units hold at all steps, how much is left to 1 % and more after so many steps.

        A memory cell is multiplied by its gate at each step, so this is the share of pairs of a unit and a step over
        which the product of so many gates is above 0.01; NaN if no gate keeps or no sequence is that long.

        Example:
            >>> open_shut = torch.tensor([0.9, 0.9, 0.9, 0.0]).repeat(5)[:, None, None]  # reset at each fourth step
            >>> layer = LayerGates("l0", {"forget": Activation("sigmoid", open_shut)}, None, ("forget", 1))
            >>> print(layer.outlasting(2), layer.outlasting(4))
            53 % none
        """
        if self.keeper is None:
            return Share(math.nan)
        gate, sign = self.keeper
        kept = self.activations[gate].values.double()
        # A gate of 0 has no logarithm; the smallest number that float64 can square stands for it.
        logs = (kept if sign > 0 else 1 - kept).clamp(min=1e-150).log()
        sums = torch.cat([torch.zeros_like(logs[:1]), logs]).cumsum(0)
        over = sums[lag:] - sums[:-lag] if lag < len(sums) else sums[:0]
        there = over.isfinite()
        lasting = (over[there] > math.log(0.01)).double()
        return Share(float(lasting.mean()) if len(lasting) else math.nan)

    def to_dict(self) -> dict[str, Any]:
        """Shares, means per step and half-lives, without the single values; an infinite half-life is None."""
        found = {"name": self.name, "gates": {n: a.to_dict() for n, a in self.activations.items()}}
        return found | {"half_lives": None if self.half_lives is None else plain(self.half_lives)}


@dataclass(frozen=True, eq=False)
class Gates(Printable):
    """What `gates` found, per layer and direction."""

    layers: dict[str, LayerGates]

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        return {"layers": [layer.to_dict() for layer in self.layers.values()]}

    def __rich__(self) -> Any:
        table = columns(
            "Gates over the batch's tokens",
            "sigmoid: low below 0.1, high above 0.9; tanh: high beyond ±0.95; relu: dead units are never above 0. "
            "half-life: steps, for the middle 80 % of units.",
            *("layer", "gate", "mean", "low", "high", "dead units", "half-life", "mean over time →"),
        )
        for layer in self.layers.values():
            for name, activation in layer.activations.items():
                table.add_row(layer.name, name, *_figures(activation), _life(layer, name), _over_time(activation))
        return table


def gates(model: nn.Module, batch: Any, loss: Loss | None = None, *, seed: int = 0) -> Gates:
    """Openness, saturation and memory of every gate of every recurrent layer, over the tokens of a batch.

    A unit whose keeping gate takes the values `f_t` forgets with the half-life `ln ½ / mean_t ln f_t` (the geometric
    mean: the arithmetic one overstates). Padding does not count.

    Args:
        model, batch, loss, seed: as for `reach`; the loss only says how to run the model.

    Raises:
        FlowError: what `reach` refuses.
        NonFiniteError: weights are NaN or infinite.

    Source: saturation: Karpathy, Johnson, Fei-Fei (2015). Visualizing and understanding recurrent networks.
    arXiv:1506.02078. Half-life: Tallec, Ollivier (2018). Can recurrent neural networks warp time? arXiv:1804.11188.

    Example:
        >>> lstm = nn.LSTM(3, 8)
        >>> for weight in lstm.parameters():
        ...     _ = nn.init.zeros_(weight)
        >>> found = gates(lstm, torch.randn(20, 2, 3)).layers["l0"]
        >>> list(found.activations), found.half_lives[0].item()
        (['input', 'forget', 'content', 'output', 'state'], 1.0)
    """
    with unchanged_buffers(model):
        return gates_of(trace_model(model, batch, loss, seed))


def gates_of(trace: Trace) -> Gates:
    """`gates` from a trace."""
    return Gates({title: _layer(title, replays) for title, replays in trace.sequences.items()})


def _layer(title: str, replays: list[Replay]) -> LayerGates:
    activations, keeps = activations_of(replays), replays[0].cell.keeps
    # A cell may name several gates that keep (an LSTM's forget gate, and its input gate when
    # closed); the first one decides how fast the memory fades, the others what is written.
    keeper = next(((gate, sign) for gate, sign in keeps.items() if gate in activations), None)
    if keeper is None:
        return LayerGates(title, activations, None, None)
    values = activations[keeper[0]].values
    kept = values if keeper[1] > 0 else 1 - values
    # Summed in float64: logarithms of gates near 1 are as small as 6e-8, and there are thousands of them.
    logs = kept.double().log().flatten(0, 1).nanmean(0)
    return LayerGates(title, activations, (math.log(0.5) / logs).cpu(), keeper)


def _figures(activation: Activation) -> list[str]:
    dead = "" if activation.kind != "relu" else f"{activation.dead:.0%}"
    shares = ["", ""] if activation.kind == "relu" else [f"{activation.low:.0%}", f"{activation.high:.0%}"]
    return [f"{activation.mean:.3f}", shares[0] if activation.kind == "sigmoid" else "", shares[1], dead]


def _life(layer: LayerGates, gate: str) -> str:
    if layer.half_lives is None or layer.keeper is None or gate != layer.keeper[0]:
        return ""
    low, middle, high = layer.half_lives.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _over_time(activation: Activation) -> str:
    low, high = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(activation.kind, (0.0, 2.0))
    return sparkline(activation.by_step.tolist(), low, high)
