"""Texts as numbers: what a batch of a classifier holds, and how it is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.labelled import Label
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.vocabulary import Vocabulary

__all__ = ["EncodedTexts", "TextBatch", "targets"]

# A label that counts for nothing: torch's own mark of a target that is none.
IGNORED = -100


@dataclass(frozen=True)
class TextBatch:
    """Texts side by side.

    Attributes:
        tokens: ``[T, B]`` their numbers.
        lengths: ``[B]`` tokens of each text; a text may have none.
        targets: ``[B]`` numbers of labels, -100 where one is not known; ``[B, K]`` zeros and ones where a text may have
            several; none if they are not asked for.
    """

    tokens: Tensor
    lengths: Tensor
    targets: Tensor | None = None

    def to(self, device: torch.device) -> TextBatch:
        """The same on a device."""
        # Without waiting: the copy runs while the last update is still being computed.
        moved = [x if x is None else x.to(device, non_blocking=True) for x in (self.tokens, self.lengths, self.targets)]
        return TextBatch(*moved)  # type: ignore[arg-type]


class EncodedTexts:
    """Texts made into numbers once, so that a batch of them is put together fast.

    Args:
        vocabulary: gives the numbers.
        texts: of any length.
        longest: tokens that are read of each, from its beginning.
        targets: of each text, as `targets` makes them, if they are known.

    Example:
        >>> from gateflow.tasks.classifier.vocabulary import Words
        >>> texts = EncodedTexts(Words("word", ["terribly", "exciting"]), ["terribly exciting", "", "exciting"], 9)
        >>> batch = texts.batch([0, 2, 1])
        >>> batch.tokens.tolist(), batch.lengths.tolist()
        ([[1, 2, 0], [2, 0, 0]], [2, 1, 0])
    """

    def __init__(
        self, vocabulary: Vocabulary, texts: Iterable[str], longest: int, targets: Tensor | None = None
    ) -> None:
        # As 32 bits: a corpus of a hundred million tokens stays in memory.
        self.tokens = [torch.tensor(vocabulary.numbers(text, longest), dtype=torch.int32) for text in texts]
        self.lengths, self.targets = [len(tokens) for tokens in self.tokens], targets

    def batch(self, rows: Sequence[int]) -> TextBatch:
        """The texts of these numbers side by side."""
        # At least one step: a layer takes no sequences that are all empty.
        steps = pad_sequence([torch.zeros(1, dtype=torch.int32), *(self.tokens[i] for i in rows)])[:, 1:]
        lengths = torch.tensor([self.lengths[i] for i in rows])
        return TextBatch(steps.long(), lengths, None if self.targets is None else self.targets[list(rows)])


def targets(labels: Labels, of_texts: Sequence[Sequence[Label]]) -> Tensor:
    """The labels of some texts as numbers, ``[N]`` or ``[N, K]``; see `TextBatch`.

    Example:
        >>> targets(Labels(names=("a", "b")), [["b"], ["strange"]]).tolist()
        [1, -100]
        >>> targets(Labels(names=("a", "b"), multi_label=True), [["a", "b"], []]).tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    numbers = [[labels.numbers.get(str(label), IGNORED) for label in row] for row in of_texts]
    if not labels.multi_label:
        return torch.tensor([row[0] for row in numbers], dtype=torch.int64)
    found = torch.zeros(len(numbers), len(labels))
    for i, row in enumerate(numbers):
        found[i, [number for number in row if number != IGNORED]] = 1
    return found
