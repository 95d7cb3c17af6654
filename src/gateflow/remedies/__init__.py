"""Remedies against vanishing and exploding gradients: initial weights, norm clipping, penalties.

They are imported when first used: a configuration that names initial weights is read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateflow.remedies import clip, init, penalties
    from gateflow.remedies.clip import NormClipper

__all__ = ["NormClipper", "clip", "init", "penalties"]


def __getattr__(name: str) -> Any:
    if name == "NormClipper":
        return import_module("gateflow.remedies.clip").NormClipper
    if name in __all__:
        return import_module(f"gateflow.remedies.{name}")
    raise AttributeError(f"module 'gateflow.remedies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
