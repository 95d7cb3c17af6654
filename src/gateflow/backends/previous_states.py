"""What the states were before each step, as the large products of the backward pass want it: line by line."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from gateflow.backends.base import Sequences

__all__ = ["PreviousStates"]


class PreviousStates:
    """The states of a run before the steps of its lines."""

    def __init__(self, run: Sequences):
        self.run = run

    def lines(self, state: int, begin: int, end: int) -> list[tuple[slice, Tensor]]:
        """The values of a state before some lines: parts of these lines, and the values there."""
        run = self.run
        history, start, B = run.histories[state], run.states[state], run.samples
        # Only ragged samples need a copy: between equally long ones the step before is a fixed number of lines away.
        if run.offsets is not None:
            return [(slice(None), self._with_starts[state][self._previous_lines[begin:end]])]
        if run.reverse and end == history.shape[0]:
            return [(slice(end - begin - B, None), start), (slice(0, end - begin - B), history[begin + B :])]
        if not run.reverse and begin == 0:
            return [(slice(0, B), start), (slice(B, None), history[: end - B])]
        shift = B if run.reverse else -B
        return [(slice(None), history[begin + shift : end + shift])]

    @cached_property
    def _with_starts(self) -> list[Tensor]:
        """Each history, followed by the lines before its first step."""
        # So that one index reaches both.
        return [torch.cat(pair) for pair in zip(self.run.histories, self.run.states, strict=True)]

    @cached_property
    def _previous_lines(self) -> Tensor:
        """For each line that of the step before; the start, which follows the history, where there is none."""
        run, lines = self.run, self.run.x.shape[0]
        assert run.offsets is not None
        begins, counts, device = run.offsets, run.counts, run.offsets.device
        # With the number of lines, which is known here, no device need be asked for it.
        step = torch.repeat_interleave(torch.arange(run.steps, device=device), counts, output_size=lines)
        sample = torch.arange(lines, device=device) - begins[step]
        previous = step + 1 if run.reverse else step - 1
        inside = (previous >= 0) & (previous < run.steps)
        previous = previous.clamp(0, max(run.steps - 1, 0))
        return torch.where(inside & (sample < counts[previous]), begins[previous] + sample, lines + sample)
