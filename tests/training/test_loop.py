"""The loop: exact resume, validation, accumulation, clipping, Ctrl-C, disk full."""

import dataclasses
import errno
import json
import os
import signal

import pytest
import torch
from tests.training import killed_again_and_again
from tests.training.kills import kill_again_and_again
from tests.training.tiny import Echo, EchoTask, echo_run

from gateflow import flow
from gateflow.errors import ConfigError, FlowWarning, NonFiniteError, RunError, RunWarning
from gateflow.runs.weights import load_weights, read_tensors, write_tensors
from gateflow.training.checkpoint import Checkpoint
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.metrics import MetricsLog

TIMES = ("seconds", "numbers_per_second")


def loop(run, config, task=None, callbacks=(), monitor=None):
    accelerator = join_processes(config.training)
    return TrainingLoop(task or EchoTask(), config.training, run, accelerator, callbacks, monitor)


def metrics(run):
    records = MetricsLog(run.metrics_file).read()
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


class StopAfter:
    """A callback that presses Ctrl-C after some updates."""

    def __init__(self, step, number=signal.SIGINT):
        self.at, self.number = step, number

    def step(self, progress, total):
        if progress.step == self.at:
            signal.raise_signal(self.number)

    def record(self, record):
        pass


def test_training_lowers_the_loss_and_keeps_the_best_weights(tmp_path):
    run, config = echo_run(tmp_path / "run", epochs=20)
    outcome = loop(run, config).train()
    validations = [record["loss"] for record in metrics(run) if record["kind"] == "valid"]
    assert outcome.best == min(validations) < 0.75 * validations[0]
    assert (outcome.step, outcome.epoch, outcome.interrupted) == (120, 20, False)
    assert outcome.targets == 120 * 5 * 4 * 3
    task = EchoTask()
    task.model.load_state_dict(read_tensors(run.model_file)[0])
    sums, count = task.validate(task.model.eval())
    assert sums["loss"] / count == pytest.approx(outcome.best)


def test_no_file_of_a_run_is_a_pickle(tmp_path):
    run, config = echo_run(tmp_path / "run")
    loop(run, config).train()
    files = {entry.name: entry.read_bytes() for entry in run.path.rglob("*") if entry.is_file()}
    assert set(files) == {"config.toml", "metrics.jsonl", "model.safetensors", "last.safetensors", "lock"}
    # A safetensors file begins with the length of its header, whose first byte may be a pickle's too.
    contents = [content[8:] if name.endswith(".safetensors") else content for name, content in files.items()]
    assert not any(content.startswith((b"\x80", b"PK")) for content in contents)


OPTIONS = [{}, {"accumulate": 2}, {"optimizer": "sgd", "momentum": 0.9}, {"clip": "auto"}]
OPTIONS += [{"average": 0.9, "patience": 1}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("stop", [1, 8])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, options, stop):
    whole, config = echo_run(tmp_path / "whole", 0.2, **options)
    loop(whole, config, EchoTask(0.2)).train()
    run, config = echo_run(tmp_path / "run", 0.2, **options)
    torch.manual_seed(99)
    first = loop(run, config, EchoTask(0.2), [StopAfter(stop)]).train()
    assert first.interrupted
    assert first.step == stop + 1  # the update at hand is finished first
    assert not loop(run, config, EchoTask(0.2)).train().interrupted
    assert list(tmp_path.rglob(".*")) == []
    assert metrics(run) == metrics(whole)
    assert run.model_file.read_bytes() == whole.model_file.read_bytes()


def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_happened(tmp_path):
    kill_again_and_again(f"{killed_again_and_again.__name__}:echo", tmp_path, seed=0, kills=12)


class NeverBetter(EchoTask):
    """Its validations are 3, 2, 2.5, 1, 1, 1, …"""

    def __init__(self):
        super().__init__()
        self.losses = iter([3.0, 2.0, 2.5] + 99 * [1.0])

    def validate(self, model):
        return {"loss": next(self.losses)}, 1


class AsGood(EchoTask):
    """Of validations whose share of right ones is the same, the third has the smallest loss."""

    metric = ("share", "max")

    def __init__(self):
        super().__init__()
        self.losses = iter([0.5, 0.4, 0.2, 0.3, float("nan"), 0.2])

    def validate(self, model):
        return {"loss": next(self.losses), "share": 0.9}, 1

    def figures(self, means):
        return {}


def test_of_equal_figures_that_with_the_smaller_loss_is_kept(tmp_path):
    run, config = echo_run(tmp_path / "run", epochs=6)
    loop(run, config, AsGood()).train()
    progress = Checkpoint.read(run.checkpoint_file).progress
    assert (progress.best, progress.best_loss, progress.stale) == (0.9, 0.2, 3)


def test_it_stops_early_when_validations_bring_nothing_for_too_long(tmp_path):
    run, config = echo_run(tmp_path / "run", epochs=50, patience=2)
    outcome = loop(run, config, NeverBetter()).train()
    assert (outcome.epoch, outcome.best, outcome.stale) == (6, 1.0, 2)
    assert Checkpoint.read(run.checkpoint_file).progress.step == outcome.step == 36
    before = run.metrics_file.read_text()
    again = loop(run, config, NeverBetter()).train()  # and what has stopped stays stopped
    assert (again.step, again.stale) == (36, 2)
    assert run.metrics_file.read_text() == before
    more = config.model_copy(update={"training": config.training.model_copy(update={"patience": None})})
    assert loop(run, more).train().epoch == 50


def test_sigterm_saves_as_ctrl_c_does_and_leaves_a_model_even_before_the_first_validation(tmp_path):
    run, config = echo_run(tmp_path / "run")
    assert loop(run, config, callbacks=[StopAfter(2, signal.SIGTERM)]).train().interrupted
    assert Checkpoint.read(run.checkpoint_file).progress.step == 3
    assert run.model_file.exists()


def test_a_finished_run_stays_as_it_is(tmp_path):
    run, config = echo_run(tmp_path / "run")
    outcome = loop(run, config).train()
    before = run.metrics_file.read_text()
    again = loop(run, config).train()
    assert (again.step, again.best) == (outcome.step, outcome.best)
    assert run.metrics_file.read_text() == before


def test_accumulated_batches_are_one_larger_step(tmp_path):
    run, config = echo_run(tmp_path / "run", accumulate=3, epochs=1, max_updates=1, optimizer="sgd", clip=1000)
    loop(run, config).train()
    task = EchoTask()
    batches, carried = list(task.batches(0, 0))[:3], None
    for batch in batches:
        loss, _, carried = task.loss(task.model, batch, carried)
        (loss / 3).backward()
    trained = Checkpoint.read(run.checkpoint_file).named("model")
    for name, weight in task.model.named_parameters():
        assert torch.allclose(trained[name], weight - 0.01 * weight.grad, atol=1e-7)


def test_more_batches_per_update_than_there_are_is_refused(tmp_path):
    run, config = echo_run(tmp_path / "run", accumulate=7)
    with pytest.raises(ConfigError, match=r"--accumulate 7: the training data have only 6 batches"):
        loop(run, config)


class BrokenTask(EchoTask):
    """A loss that is NaN at some updates."""

    def __init__(self, *bad):
        super().__init__()
        self.bad, self.calls = bad, 0

    def loss(self, model, batch, carried):
        loss, count, carried = super().loss(model, batch, carried)
        self.calls += 1
        return loss * (float("nan") if self.calls in self.bad else 1.0), count, carried


def test_a_step_with_a_loss_that_is_not_finite_is_skipped_and_counted(tmp_path):
    run, config = echo_run(tmp_path / "run", log_every=1, epochs=1)
    outcome = loop(run, config, BrokenTask(2, 4)).train()
    records = [record for record in metrics(run) if record["kind"] == "train"]
    assert [record["skipped"] for record in records] == [0, 1, 1, 2, 2, 2]
    assert [record["loss"] is None for record in records] == [False, True, False, True, False, False]
    assert outcome.best is not None


def test_too_many_in_a_row_stop_the_training_and_the_checkpoint_stays_good(tmp_path):
    run, config = echo_run(tmp_path / "run", non_finite_limit=3)
    with pytest.raises(NonFiniteError, match=r"3 times in a row .*recurrent\.weight_ih_l0"):
        loop(run, config, BrokenTask(*range(6, 20))).train()
    assert Checkpoint.read(run.checkpoint_file).progress.step == 4
    assert not loop(run, config).train().interrupted


def test_a_watched_run_has_the_losses_of_one_that_is_not_and_goes_on_exactly(tmp_path):
    def watched(callbacks=()):
        task = EchoTask(0.2)
        loop(run, config, task, callbacks, flow.Monitor(task.model, every=1, budget=1.0)).train()
        return [record for record in MetricsLog(run.metrics_file).read() if record["kind"] == "flow"]

    whole, config = echo_run(tmp_path / "whole", 0.2)
    loop(whole, config, EchoTask(0.2)).train()
    run, config = echo_run(tmp_path / "run", 0.2)
    assert [record["step"] for record in watched([StopAfter(7)])] == list(range(1, 9))
    found = watched()
    assert [record["step"] for record in found] == list(range(1, 19))
    assert all(0 <= record["horizon"] <= record["longest"] == 4 for record in found)
    assert [record for record in metrics(run) if record["kind"] != "flow"] == metrics(whole)
    assert run.model_file.read_bytes() == whole.model_file.read_bytes()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_first_update_that_is_not_finite_is_named_and_kept_and_the_run_goes_on(tmp_path, accumulate):
    run, config = echo_run(tmp_path / "run", accumulate=accumulate)
    task = EchoTask()
    task.data = task.data.clone()
    task.data[17, 2] = torch.inf  # step 1 of the fourth batch
    monitor = flow.Monitor(task.model, folder=run.path / "non_finite_step", non_finite="warn")
    update = 4 // accumulate
    with pytest.warns(FlowWarning, match=f"step {update}: .* with the input, layer recurrent.l0, time step 1, row 2"):
        assert loop(run, config, task, monitor=monitor).train().step == 18 // accumulate
    (noted,) = (r for r in metrics(run) if r["kind"] == "flow" and "warning" in r)
    assert (noted["step"], noted["loss"]) == (update, None)
    model = Echo()
    x, y, carried = flow.restore(run.path / "non_finite_step", model)
    assert torch.equal(x, task.data[16:21])
    assert not model(x, y, carried)[0].isfinite()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    run, config = echo_run(tmp_path / "run")
    real = os.replace

    def full_after_two(source, target):
        calls.append(target)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    calls = []
    monkeypatch.setattr(os, "replace", full_after_two)
    with pytest.raises(RunError, match=r"could not write .*: No space left on device\. .* is untouched"):
        loop(run, config).train()
    monkeypatch.undo()
    whole, config = echo_run(tmp_path / "whole")
    loop(whole, config).train()
    loop(run, config).train()
    assert metrics(run) == metrics(whole)


def test_a_second_trainer_of_a_run_is_refused(tmp_path):
    run, config = echo_run(tmp_path / "run")
    with run.lock(), pytest.raises(RunError, match="is being trained by another process"):
        loop(run, config).train()


def test_another_number_of_processes_is_refused(tmp_path):
    run, config = echo_run(tmp_path / "run")
    loop(run, config, callbacks=[StopAfter(2)]).train()
    checkpoint = Checkpoint.read(run.checkpoint_file)
    state = checkpoint.random(0)
    tensors = {**checkpoint.tensors, **{f"random.1.{name}": part.clone() for name, part in state.items()}}
    Checkpoint(tensors, checkpoint.progress, checkpoint.optimizer, processes=2).write(run.checkpoint_file)
    with pytest.raises(RunError, match=r"trained by 2 processes; .* torchrun --nproc-per-node 2 -m gateflow resume"):
        loop(run, config).train()


def nan_in(file):
    tensors, _ = read_tensors(file)
    write_tensors(file, {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()})


DAMAGES = {
    "cut short": lambda file: os.truncate(file, 100),
    "of another network": lambda file: write_tensors(file, {"weight": torch.zeros(2)}),
    "not a number": nan_in,
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("updates", [8, 18])
def test_weights_that_cannot_be_read_are_told_and_written_again(tmp_path, damage, updates):
    run, config = echo_run(tmp_path / "run")
    short = config.training.model_copy(update={"max_updates": updates})
    loop(run, config.model_copy(update={"training": short})).train()
    whole = Checkpoint.read(run.checkpoint_file)
    DAMAGES[damage](run.model_file)
    # As if the best had been one that is never reached again.
    dataclasses.replace(whole, progress=dataclasses.replace(whole.progress, best=0.0)).write(run.checkpoint_file)
    with pytest.warns(RunWarning, match=r"model\.safetensors.*The weights of the checkpoint take its place"):
        outcome = loop(run, config).train()
    assert Checkpoint.read(run.checkpoint_file).progress.step == 18
    task = EchoTask()
    load_weights(task.model, read_tensors(run.model_file)[0], run.model_file)
    if updates == 18:
        assert all(torch.equal(a, whole.named("model")[n]) for n, a in task.model.state_dict().items())
        assert outcome.best is None
    else:
        assert 0 < outcome.best == Checkpoint.read(run.checkpoint_file).progress.best
    loop(run, config).train()  # without a warning


@pytest.mark.parametrize("option", ["window", "batch_size"])
def test_other_batches_are_refused_in_the_middle_of_an_epoch_and_taken_at_its_end(tmp_path, option):
    run, config = echo_run(tmp_path / "run")
    was = getattr(config.training, option)
    # The toy has six batches whatever is asked: what is compared is what was asked.
    changed = config.model_copy(update={"training": config.training.model_copy(update={option: was + 1})})
    loop(run, config, callbacks=[StopAfter(2)]).train()
    with pytest.raises(RunError, match=rf"stands at batch 3 of an epoch that was cut with {option} {was}, and .* Give"):
        loop(run, changed).train()
    loop(run, config, callbacks=[StopAfter(5)]).train()
    loop(run, changed, callbacks=[StopAfter(8)]).train()
    with pytest.raises(RunError, match=rf"stands at batch 3 of an epoch that was cut with {option} {was + 1}"):
        loop(run, config).train()
    loop(run, changed).train()


def test_a_checkpoint_of_an_older_version_does_not_say_how_its_data_were_cut(tmp_path):
    run, config = echo_run(tmp_path / "run")
    loop(run, config, callbacks=[StopAfter(2)]).train()
    tensors, metadata = read_tensors(run.checkpoint_file)
    plain = json.loads(metadata["gateflow"])
    assert plain["progress"].pop("cut") == {"batches": 6, "batch_size": 32, "window": 35}
    write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(plain)})
    assert loop(run, config).train().step == 18
