"""The first sequence as text, each token as dark as the memory is kept there, in one scale for all layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateflow.flow.gates import LayerGates

__all__ = ["ColouredText", "Word", "coloured_text"]

# The box that they stand in scrolls; nobody reads on for longer.
_MOST_WORDS = 400


@dataclass(frozen=True)
class Word:
    """A token, how much of its memory the layer keeps there (0 nothing, 1 all), how dark that makes it, and its part.

    The part is what it is called in the dependency that the report is about, such as "subject".
    """

    text: str
    kept: float
    shade: float
    part: str = ""


@dataclass(frozen=True)
class ColouredText:
    """Words by layer, and what is kept where they are palest and darkest: the same for all layers."""

    pale: float = 0.0
    dark: float = 1.0
    layers: Mapping[str, Sequence[Word]] = field(default_factory=dict)


def coloured_text(
    layers: Mapping[str, LayerGates], labels: Mapping[str, Sequence[str]], parts: Mapping[int, str]
) -> ColouredText:
    """For each layer with a gate that keeps, its tokens with what that gate lets through.

    Args:
        layers: gates by layer.
        labels: tokens of the first row by layer; none where a layer has other steps.
        parts: by step, what stands there.
    """
    kept = {name: found for name, layer in layers.items() if (found := _kept(layer, labels[name]))}
    if not kept:
        return ColouredText()
    values = [value for found in kept.values() for value in found]
    # To whole tenths, which are said beside it; small differences stay small.
    pale, dark = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10
    span = max(dark - pale, 0.1)
    words = {
        name: [
            Word(text, value, (value - pale) / span, parts.get(k, ""))
            for k, (text, value) in enumerate(zip(labels[name], found, strict=False))
        ]
        for name, found in kept.items()
    }
    return ColouredText(pale, dark, words)


def _kept(layer: LayerGates, labels: Sequence[str]) -> list[float]:
    if layer.keeper is None or not labels:
        return []
    gate, sign = layer.keeper
    # The first row alone: the tokens are its own.
    values = layer.activations[gate].values[:_MOST_WORDS, 0].nanmean(-1)
    return [value for value in (values if sign > 0 else 1 - values).tolist() if math.isfinite(value)]
