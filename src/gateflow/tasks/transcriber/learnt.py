"""What a run has learnt, ready to be used."""

from __future__ import annotations

from typing import NamedTuple

from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.inputs.base import Encoder
from gateflow.tasks.transcriber.model import TranscriberModel

__all__ = ["Learnt"]


class Learnt(NamedTuple):
    """The network of a run with what it needs on both sides.

    Attributes:
        model: in eval mode.
        encoder: makes lines into what it reads.
        alphabet: what its outputs mean.
    """

    model: TranscriberModel
    encoder: Encoder
    alphabet: Alphabet
