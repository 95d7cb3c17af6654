"""One thread per test process (two run side by side) and a fixed seed per test."""

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from hypothesis import settings

from gateflow.recurrence import dispatch

torch.set_num_threads(1)
# Timing belongs to benchmarks, and a failure must come back when the test is run again.
settings.register_profile("gateflow", deadline=None, derandomize=True)
settings.load_profile("gateflow")


@pytest.fixture(autouse=True)
def _as_in_a_fresh_process():
    torch.manual_seed(0)
    # Warnings that come once; a command's mode of numbers; what Accelerate keeps for the life of a process.
    dispatch.told.clear()
    yield
    torch.set_flush_denormal(False)
    reset_accelerate()


def reset_accelerate():
    """Let the next training have its own precision, device and number of processes."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
