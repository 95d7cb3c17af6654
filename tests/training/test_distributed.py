"""Two processes give what one gives with the doubled batch; bf16 trains."""

import os
import subprocess
import sys

import pytest
import torch
from tests.training import one_of_several
from tests.training.tiny import EchoTask, echo_run

from gateflow.runs.config import TrainingConfig
from gateflow.training.checkpoint import Checkpoint
from gateflow.training.distributed import every_process, join_processes, own_rows, summed, whole_batch
from gateflow.training.loop import TrainingLoop
from gateflow.training.metrics import MetricsLog


def test_two_processes_are_one_with_the_doubled_batch(tmp_path):
    run, config = echo_run(tmp_path / "two", **one_of_several.OPTIONS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", one_of_several.__name__, str(run.path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "broadcast_buffers" not in done.stderr
    one, config = echo_run(tmp_path / "one", **one_of_several.OPTIONS)
    TrainingLoop(EchoTask(), config.training, one, join_processes(config.training)).train()

    together, alone = (MetricsLog(r.metrics_file).read() for r in (run, one))
    assert len(together) == len(alone) == 9 + 3
    for two_, one_ in zip(together, alone, strict=True):
        assert two_["loss"] == pytest.approx(one_["loss"], rel=1e-5)
        assert two_.get("gradient_norm", 0) == pytest.approx(one_.get("gradient_norm", 0), rel=1e-4)
    left, right = (Checkpoint.read(r.checkpoint_file) for r in (run, one))
    assert (left.processes, right.processes) == (2, 1)
    for name, tensor in right.named("model").items():
        torch.testing.assert_close(left.named("model")[name], tensor, rtol=1e-4, atol=1e-6)


def test_bf16_runs_the_products_in_bf16_and_keeps_fp32_weights(tmp_path):
    class Seen(EchoTask):
        def loss(self, model, batch, carried):
            products.append(model.output(torch.ones(1, 8)).dtype)
            return super().loss(model, batch, carried)

    products = []
    run, config = echo_run(tmp_path / "run", precision="bf16", epochs=20)
    outcome = TrainingLoop(Seen(), config.training, run, join_processes(config.training)).train()
    assert set(products) == {torch.bfloat16}
    assert {tensor.dtype for tensor in Checkpoint.read(run.checkpoint_file).named("model").values()} == {torch.float32}
    first = next(record for record in MetricsLog(run.metrics_file).read() if record["kind"] == "valid")
    assert outcome.best < 0.8 * first["loss"]


def test_one_training_after_the_other_has_its_own_precision(tmp_path):
    types = []

    class Seen(EchoTask):
        def loss(self, model, batch, carried):
            types.append(model.output(torch.ones(1, 8)).dtype)
            return super().loss(model, batch, carried)

    for k, precision in enumerate(["fp32", "bf16", "fp32"]):
        run, config = echo_run(tmp_path / str(k), precision=precision, epochs=1, max_updates=1)
        TrainingLoop(Seen(), config.training, run, join_processes(config.training)).train()
    assert list(dict.fromkeys(types)) == [torch.float32, torch.bfloat16]
    assert types[-1] == torch.float32


def test_alone_every_exchange_is_the_identity():
    accelerator, carried = join_processes(TrainingConfig()), [(torch.ones(2, 3),)]
    assert summed(accelerator, 1.5, 2) == [1.5, 2]
    assert whole_batch(accelerator, carried) is carried
    assert whole_batch(accelerator, None) is own_rows(accelerator, None) is None
    assert torch.equal(own_rows(accelerator, carried)[0][0], carried[0][0])
    assert every_process(accelerator, {"cpu": torch.ones(1)}) == [{"cpu": torch.ones(1)}]
