"""Pairs as numbers: what a batch of a translator holds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

__all__ = ["IGNORED", "TranslationBatch"]

# A target that counts for nothing: torch's own mark of one.
IGNORED = -100


@dataclass(frozen=True)
class TranslationBatch:
    """Pairs as numbers, side by side.

    Attributes:
        source: ``[S, B]`` numbers of tokens; each source ends in its end.
        source_lengths: ``[B]``.
        inputs: ``[T, B]`` what the decoder reads: the end, as the beginning, and then the target without its end.
        labels: ``[T, B]`` what it is to give: the target with its end; -100 beyond. A token that is in no vocabulary
            and stands in the source has the number that it has in `copies`.
        target_lengths: ``[B]``.
        copies: ``[S, B]`` which target token each source token is. Behind the vocabulary's numbers comes the one of
            what is never copied, and then for each row those of its tokens that are in no vocabulary.
        extra: how many numbers there are behind the vocabulary.
    """

    source: Tensor
    source_lengths: Tensor
    inputs: Tensor
    labels: Tensor
    target_lengths: Tensor
    copies: Tensor
    extra: int

    def to(self, device: torch.device) -> TranslationBatch:
        """The same on a device."""
        tensors = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "extra"}
        # Without waiting: the copy runs while the last update is still being computed.
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})
