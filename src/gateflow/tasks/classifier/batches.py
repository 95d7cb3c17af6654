"""Examples as numbers: what a batch of a classifier holds, and how it is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.tasks.classifier.targets import Targets

__all__ = ["Batch", "Encoded"]


@dataclass(frozen=True)
class Batch:
    """Examples side by side.

    Attributes:
        steps: ``[T, B]`` numbers of tokens, or ``[T, B, C]`` values.
        lengths: ``[B]`` steps of each example; a text may have none.
        targets: ``[N]`` numbers of labels, -100 where one is not known, or numbers to be found, NaN where one is not
            known; ``[N, K]`` zeros and ones where there may be several labels. N is B, or of labels per step the sum of
            the lengths, one example after the other. None if they are not asked for.
        elapsed: ``[T, B]``, the time since the step before, for a cell that is told it.
    """

    steps: Tensor
    lengths: Tensor
    targets: Tensor | None = None
    elapsed: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        # Without waiting: the copy runs while the last update is still being computed.
        parts = (self.steps, self.lengths, self.targets, self.elapsed)
        moved = [x if x is None else x.to(device, non_blocking=True) for x in parts]
        return Batch(*moved)  # type: ignore[arg-type]


class Reader(Protocol):
    """What makes examples into what the layers read: see `gateflow.tasks.classifier.inputs.base.Encoder`."""

    def steps(self, example: Any) -> Tensor:
        """``[T]`` or ``[T, C]``."""
        ...

    def elapsed(self, example: Any) -> Tensor | None:
        """``[T]``, or none."""
        ...


class Encoded:
    """Examples made into numbers once, so that a batch of them is put together fast.

    Args:
        encoder: makes the numbers.
        examples: of any length.
        targets: what is to be found, if the examples have it.

    Example:
        >>> from gateflow.data.labelled import LabelledText
        >>> from gateflow.tasks.classifier.inputs.texts import TextEncoder
        >>> from gateflow.tasks.classifier.inputs.vocabulary import Words
        >>> encoder = TextEncoder(Words("word", ["terribly", "exciting"]), longest=9)
        >>> texts = [LabelledText(text, (), line=1) for text in ("terribly exciting", "", "exciting")]
        >>> batch = Encoded(encoder, texts).batch([0, 2, 1])
        >>> batch.steps.tolist(), batch.lengths.tolist()
        ([[1, 2, 0], [2, 0, 0]], [2, 1, 0])
    """

    def __init__(self, encoder: Reader, examples: Iterable[Any], targets: Targets | None = None) -> None:
        examples = list(examples)
        self.steps = [encoder.steps(example) for example in examples]
        self.lengths = [len(steps) for steps in self.steps]
        elapsed = [encoder.elapsed(example) for example in examples]
        self.elapsed = [each for each in elapsed if each is not None]
        self.targets = targets and [
            targets.tensor(example.labels, length) for example, length in zip(examples, self.lengths, strict=True)
        ]
        self._joined = torch.cat if targets and targets.per_step else torch.stack

    def all_targets(self) -> Tensor:
        """``[N]`` or ``[N, K]`` of all examples, as in `Batch`."""
        assert self.targets, "they are asked for where there are some"
        return self._joined(self.targets)

    def batch(self, rows: Sequence[int]) -> Batch:
        """The examples of these numbers side by side."""
        return Batch(
            _side_by_side([self.steps[i] for i in rows]),
            torch.tensor([self.lengths[i] for i in rows]),
            self._joined([self.targets[i] for i in rows]) if self.targets else None,
            _side_by_side([self.elapsed[i] for i in rows]) if self.elapsed else None,
        )


def _side_by_side(steps: Sequence[Tensor]) -> Tensor:
    """``[T, B, …]`` with zeros behind ends."""
    # At least one step: a layer takes no sequences that are all empty.
    one = steps[0].new_zeros(1, *steps[0].shape[1:])
    return pad_sequence([one, *steps])[:, 1:]
