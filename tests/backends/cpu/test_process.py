"""Settings of the process: each is checked by what it does, in a process of its own."""

import subprocess
import sys

import pytest

CODE = """
import ctypes, resource, torch
from gateflow.backends.cpu.process import prepare_process
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
tiny = torch.tensor([1e-40])
print((tiny * 0.5).item() == 0, faults())
prepare_process()
for _ in range(4): faults()
print((tiny * 0.5).item() == 0, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_subnormals_are_flushed_and_freed_memory_is_kept():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    (flushed, faults), (flushed_then, faults_then) = (line.split() for line in done.stdout.splitlines())
    assert (flushed, flushed_then) == ("False", "True")
    assert int(faults_then) < 0.1 * int(faults)
