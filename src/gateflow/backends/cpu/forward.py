"""A run over sequences: one call of a cell's kernel, on plain tensors without autograd."""

from __future__ import annotations

from gateflow.backends.base import Forward, Sequences
from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import Lines
from gateflow.backends.cpu.launch import Launch

__all__ = ["forward"]


def forward(run: Sequences, *, keep: bool) -> Forward:
    """Runs the steps, and keeps what the backward loop needs, if `keep`."""
    launch = Launch(run)
    loop = launch.loop("train" if keep else "infer")
    lines, dtype = run.x.shape[0], run.x.dtype
    output, *others = (s.shape[1] for s in run.states)
    # The output is the user's, and its memory torch's; the rest is seen by kernels alone, unless the user asks for it.
    run.histories = [run.x.new_empty(lines, output), *(empty(lines, size, dtype) for size in others)]
    saved = empty(lines, loop.columns("saved", run.sizes), dtype) if keep else None
    tensors = launch.known() | ({} if saved is None else {"saved": Lines(saved)})
    if run.steps:
        first, last = (run.steps - 1, 0) if run.reverse else (0, run.steps - 1)
        launch.prepare(loop, first, last, tensors)()
    return Forward(run.histories, run.finals(), saved)
