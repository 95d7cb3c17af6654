"""Lines as numbers: what a batch of a transcriber holds, and how it is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.series import Series
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.inputs.base import Encoder

__all__ = ["Batch", "Encoded"]

# Of the ink of a picture, which is kept as a byte.
_FULL = 255


@dataclass(frozen=True)
class Batch:
    """Lines side by side.

    Attributes:
        steps: ``[T, B, C]`` what is read, zeros beyond a line's end.
        lengths: ``[B]`` steps of each.
        targets: ``[N]`` the classes of all texts, one after the other; None if they are not asked for.
        target_lengths: ``[B]`` how many of them each text has.
    """

    steps: Tensor
    lengths: Tensor
    targets: Tensor | None = None
    target_lengths: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        # Without waiting: the copy runs while the last update is still being computed.
        parts = (self.steps, self.lengths, self.targets, self.target_lengths)
        moved = [x if x is None else x.to(device, non_blocking=True) for x in parts]
        return Batch(*moved)  # type: ignore[arg-type]


class Encoded:
    """Lines made into numbers once, so that a batch of them is put together fast.

    Args:
        encoder: makes the numbers.
        lines: of any length.
        alphabet: the classes of the characters, if texts are asked for.
    """

    def __init__(self, encoder: Encoder, lines: Iterable[Series], alphabet: Alphabet | None = None) -> None:
        lines = list(lines)
        self.steps = [encoder.steps(line) for line in lines]
        self.lengths = [len(steps) for steps in self.steps]
        self.targets: list[Tensor] = []
        if alphabet is not None:
            texts = [alphabet.numbers(str(line.label or "")) for line in lines]
            self.targets = [torch.tensor(text, dtype=torch.int64) for text in texts]

    def batch(self, rows: Sequence[int]) -> Batch:
        """The lines of these numbers side by side."""
        steps = pad_sequence([self.steps[i] for i in rows])
        steps = steps.float() / _FULL if steps.dtype == torch.uint8 else steps
        lengths = torch.tensor([self.lengths[i] for i in rows])
        if not self.targets:
            return Batch(steps, lengths)
        targets = [self.targets[i] for i in rows]
        return Batch(steps, lengths, torch.cat(targets), torch.tensor(list(map(len, targets))))
