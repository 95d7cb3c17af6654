"""A transcriber as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from gateflow.data.series import Series
from gateflow.tasks.inspection import EXAMPLES, Inspected, Steps
from gateflow.tasks.transcriber.batches import Encoded
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.model import TranscriberModel
from gateflow.tasks.transcriber.run import TranscriberRun

__all__ = ["InspectedTranscriber"]


class InspectedTranscriber(Inspected[TranscriberModel]):
    """It reads a line of its validation part; of each step that the layers read, the characters are told."""

    about, step, typed = "step", "frame", False

    def __init__(self, run: TranscriberRun):
        self.run, self.learnt = run, load(run)
        self.model = self.learnt.model
        classes = self.learnt.alphabet.characters
        # Class 0 of CTC is the blank.
        self.outcomes = {"character": ["∅", *classes]}

    @cached_property
    def _lines(self) -> list[Series]:
        return own_lines(self.run, "valid")[:EXAMPLES]

    def examples(self) -> Sequence[str]:
        """The texts of lines."""
        return [str(line.label) for line in self._lines]

    def example(self, number: int) -> Steps:
        """A line; its steps have the numbers of those that the layers read."""
        batch = Encoded(self.learnt.encoder, [self._lines[number]]).batch([0])
        steps = int(self.model.lengths(batch.lengths)[0])
        return Steps(tuple(str(t + 1) for t in range(steps)), batch)

    def vectors(self, steps: Steps) -> Tensor:
        """What the layers read, behind the convolutions."""
        with torch.no_grad():
            return self.model.vectors(steps.data)[0]

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What the layers say of each step."""
        return self.model.recurrent(vectors, lengths=self.model.lengths(steps.data.lengths))[0][:, 0]

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """Of characters, the blank among them."""
        return {"character": self.model.head(hidden)}
