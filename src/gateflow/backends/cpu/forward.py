"""A run over sequences: one call of a cell's kernel, on plain tensors without autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.backends.base import Forward, Sequences
from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import Lines, Prepared
from gateflow.backends.cpu.kernel import CompiledLoop, kernel_of
from gateflow.backends.cpu.launch import Launch
from gateflow.backends.cpu.repeated import Repeated, may_be_repeated, stand_ins

__all__ = ["forward"]


def forward(run: Sequences, *, keep: bool) -> Forward:
    """Runs the steps, and keeps what the backward loop needs, if `keep`."""
    loop = kernel_of(run.step.cell).loop("train" if keep else "infer", run.x.dtype, run.products)
    if not may_be_repeated(run):
        saved = _outputs(run, loop, keep=keep)
        if run.steps:
            _prepared(run, loop, saved)()
        return Forward(run.histories, run.finals(), saved)
    key = (*run.shapes, run.x.stride(0), run.reverse, torch.get_num_threads())
    again = loop.repeats.take(key, lambda: _Again(run, loop, keep=keep))
    found = again(run)
    loop.repeats.give(key, again)
    return found


def _outputs(run: Sequences, loop: CompiledLoop, *, keep: bool) -> Tensor | None:
    """Makes the histories, and memory for what is kept."""
    (lines, _), (output, *others) = run.x.shape, (s.shape[1] for s in run.states)
    # The output is the user's, and its memory torch's; the rest is seen by kernels alone, unless the user asks for it.
    run.histories = [run.x.new_empty(lines, output), *(empty(lines, size, run.x.dtype) for size in others)]
    return empty(lines, loop.columns("saved", run.sizes), run.x.dtype) if keep else None


def _prepared(run: Sequences, loop: CompiledLoop, saved: Tensor | None) -> Prepared:
    launch = Launch(run)
    first, last = (run.steps - 1, 0) if run.reverse else (0, run.steps - 1)
    return launch.prepare(loop, first, last, launch.known() | ({} if saved is None else {"saved": Lines(saved)}))


class _Again:
    """What is prepared for runs with tensors of the same shapes."""

    def __init__(self, run: Sequences, loop: CompiledLoop, *, keep: bool):
        like = stand_ins(run)
        saved = _outputs(like, loop, keep=keep)
        prepared, made = _prepared(like, loop, saved), [*like.histories, *([] if saved is None else [saved])]
        self.output, *self.made = [(each.shape[0], each.shape[1]) for each in (*made, prepared.own)]
        self.states, self.keep = len(run.states), keep
        self.run = Repeated(prepared, [], [*_given(like), *made, prepared.own])

    def __call__(self, run: Sequences) -> Forward:
        made = [run.x.new_empty(self.output), *[empty(lines, columns, run.x.dtype) for lines, columns in self.made]]
        self.run([*_given(run), *made])
        run.histories = made[: self.states]
        return Forward(run.histories, run.finals(), made[self.states] if self.keep else None)


def _given(run: Sequences) -> list[Tensor]:
    always = run.x, *run.weights.values(), *run.states
    return [*always, *(each for each in (run.numbers, run.line_of_sizes) if each is not None)]
