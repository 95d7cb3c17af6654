"""Sentences as numbers: what a batch of a tagger holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["IGNORED", "UNKNOWN", "TaggedBatch"]

# The number of every word that training has not seen, and of its characters; the first row of an embedding.
UNKNOWN = 0
# A tag that counts for nothing: torch's own mark of a target that is none.
IGNORED = -100


@dataclass(frozen=True)
class TaggedBatch:
    """Sentences as numbers.

    Attributes:
        words: ``[T, B]`` numbers of words.
        lengths: ``[B]`` words of each sentence.
        spellings: ``[L, U]`` characters of the U different words of the batch.
        spelled: ``[U]`` characters of each of these.
        spelling_of: ``[T, B]`` which of them a word is.
        read: ``[T, B, C]`` what the characters of each word give, if they were read for several batches at once.
        tags: for each column ``[T, B]`` numbers of tags, -100 beyond a sentence; empty if they are not known.
    """

    words: Tensor
    lengths: Tensor
    spellings: Tensor
    spelled: Tensor
    spelling_of: Tensor
    tags: Mapping[str, Tensor]
    read: Tensor | None = None

    def to(self, device: torch.device) -> TaggedBatch:
        """The same on a device."""

        def moved(tensor: Tensor) -> Tensor:
            # Without waiting: the copy runs while the last update is still being computed.
            return tensor.to(device, non_blocking=True)

        given = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "tags"}
        found = {name: tensor if tensor is None else moved(tensor) for name, tensor in given.items()}
        return TaggedBatch(**found, tags={name: moved(tags) for name, tags in self.tags.items()})  # type: ignore[arg-type]
