"""Where torch's own kernels took less time than ours, as measured; a guess is never one of these.

benchmarks/results/H200.json   LSTM and GRU from 128 to 1024 units, batches of 1 to 256, Elman of 128 to 1024
"""

from __future__ import annotations

__all__ = ["faster_elsewhere"]

SMALL = {"LSTM": 192, "ProjectedLSTM": 192, "GRU": 192, "Elman": 256, "ElmanReLU": 256}
"""Units up to which cuDNN keeps the weights of float32 on the chip as well: 5 µs a training step at 128, ours 11."""
MANY = 128
"""Samples from which on a step is one large product, which cuDNN makes fast: ours took less time at 64, more at 256."""


def faster_elsewhere(cell: str, hidden_size: int, samples: int | None, *, rounded: bool) -> str | None:
    """Why torch's kernel of a cell is taken, in words; none where ours is faster.

    Args:
        cell: the name of its class.
        hidden_size: units.
        samples: of the batch; none if nobody knows.
        rounded: whether products are of bfloat16.
    """
    if not rounded and hidden_size <= SMALL.get(cell, 0):
        return f"took less time for {hidden_size} units in float32 when both were measured"
    if samples is not None and samples >= MANY:
        return f"took less time for batches of {samples} when both were measured"
    return None
