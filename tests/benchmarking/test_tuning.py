"""What a card takes for torch's kernels and for ours; on a CPU, with a clock of our own."""

from typing import Any

import torch

from gateflow.backends.cuda.measured import Figure
from gateflow.benchmarking import tuning


def test_a_layer_is_timed_on_both_paths_in_every_precision():
    seen = list[str]()
    switch: Any = torch.backends.cudnn.rnn

    def clock(call):
        seen.append(switch.fp32_precision)
        call()
        return 6.0 * len(seen)

    before = switch.fp32_precision
    point = tuning.Point("LSTM", 8, 2)
    assert list(tuning.build([point], torch.device("cpu"), 2)) == [point]
    found = tuning.figures(point, torch.device("cpu"), steps=3, clock=clock)
    # Ours in both precisions, then torch's in each; the clock tells of three steps.
    assert found == [
        Figure("LSTM", "float32", 8, 2, 2.0, 6.0),
        Figure("LSTM", "tf32", 8, 2, 2.0, 8.0),
        Figure("LSTM", "bfloat16", 8, 2, 4.0, 10.0),
    ]
    assert seen == ["ieee", "ieee", "ieee", "tf32", "ieee"]
    assert switch.fp32_precision == before


def test_what_is_timed_covers_where_torchs_kernels_change():
    assert len(tuning.POINTS) == len(set(tuning.POINTS)) == 36
    assert {p.cell for p in tuning.POINTS} == {"Elman", "GRU", "LSTM"}
