"""Remedies against vanishing and exploding gradients: initial weights, norm clipping, penalties."""

from gateflow.remedies import clip, init, penalties
from gateflow.remedies.clip import NormClipper

__all__ = ["NormClipper", "clip", "init", "penalties"]
