"""What a run has learnt, ready to be used."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateflow.tasks.classifier.inputs.base import Encoder
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.targets import Targets

__all__ = ["Learnt"]


class Learnt(NamedTuple):
    """The network of a run with what it needs on both sides.

    Attributes:
        model: in eval mode.
        encoder: makes examples into what it reads.
        targets: what its outputs mean.
    """

    model: ClassifierModel
    encoder: Encoder[Any]
    targets: Targets
