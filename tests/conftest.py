"""One thread per test process (two run side by side) and a fixed seed per test."""

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# Timing belongs to benchmarks, and a failure must come back when the test is run again.
settings.register_profile("gateflow", deadline=None, derandomize=True)
settings.load_profile("gateflow")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
