"""The gradient of an update is that of the mean over all its targets, however they lie in batches and processes."""

import os
import subprocess
import sys

import pytest
import torch
from tests.training import uneven_processes
from tests.training.test_loop import loop
from tests.training.tiny import Echo, EchoTask, echo_run
from torch.nn import functional as F

from gateflow.runs.weights import load_weights
from gateflow.training.checkpoint import Checkpoint


class UnevenTask(EchoTask):
    """Batches of 5, 1 and 3 steps, each from an empty state."""

    def batches(self, epoch, start):
        begin = 0
        for i, steps in enumerate((5, 1, 3, 5, 1, 3)):
            if i >= start:
                x = self.data[begin : begin + steps + 1]
                yield x[1:], x[:-1]
            begin += steps

    def start(self):
        return []

    def loss(self, model, batch, carried):
        loss, _ = model(*batch, None)
        return loss, batch[1].numel(), None


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_count_by_their_targets(tmp_path, accumulate):
    options = {"accumulate": accumulate, "epochs": 1, "max_updates": 1, "optimizer": "sgd", "clip": 1000, "lr": 1}
    run, config = echo_run(tmp_path / "run", **options)
    start = Checkpoint.read(run.checkpoint_file).named("model")
    task = UnevenTask()
    loop(run, config, task).train()

    model, count = Echo(), 0
    load_weights(model, start, run.checkpoint_file)
    total = torch.zeros(())
    for x, y in list(UnevenTask().batches(0, 0))[:accumulate]:
        hidden, _ = model.recurrent(x)
        total = total + F.mse_loss(model.output(hidden), y, reduction="sum")
        count += y.numel()
    (total / count).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(task.model.get_parameter(name), weight - weight.grad, rtol=1e-5, atol=1e-6)


def test_processes_count_by_their_targets(tmp_path):
    options = {"accumulate": 2, "epochs": 2, "clip": 0.2, "log_every": 1}
    run, _ = echo_run(tmp_path / "two", **options)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", uneven_processes.__name__, str(run.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    one, config = echo_run(tmp_path / "one", **options)
    loop(one, config, uneven_processes.SharedTask()).train()
    left, right = (Checkpoint.read(r.checkpoint_file).named("model") for r in (run, one))
    for name, tensor in right.items():
        torch.testing.assert_close(left[name], tensor, rtol=1e-4, atol=1e-6)
