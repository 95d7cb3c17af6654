"""Nothing that a checkpoint holds is believed: whatever is removed, retyped or reshaped is refused in words."""

import json
import math

import pytest
import torch
from tests.training.tiny import EchoRun, EchoTask, echo_run
from torch import Tensor

from gateflow.backends.cpu.multiplier import forced, go_on_with
from gateflow.errors import GateflowError, RunError, RunWarning
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

OPTIONS = {"epochs": 3, "max_updates": 9, "checkpoint_every": 9, "clip": "auto", "average": 0.9}


def resume(run, updates=9):
    settings = run.config().training.model_copy(update={"max_updates": updates})
    TrainingLoop(EchoTask(), settings, run, join_processes(settings)).train()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A run that was stopped in the middle of an epoch, and what its checkpoint holds."""
    run, _ = echo_run(tmp_path_factory.mktemp("runs") / "one", **OPTIONS)
    with forced("float32"):  # else it is written down only where a test before this one multiplied in bfloat16
        resume(run)
    tensors, metadata = read_tensors(run.checkpoint_file)
    assert {name.split(".")[0] for name in tensors} == {"model", "average", "optimizer", "random", "carried"}
    yield run, tensors, json.loads(metadata["gateflow"])
    go_on_with(None)  # tests after these multiply as this machine does


@pytest.fixture
def refused(content):
    """Write a checkpoint and go on from it: it is refused in one line that names it, however it was made."""
    run, tensors, plain = content

    def go_on(change):
        new, about = {name: tensor.clone() for name, tensor in tensors.items()}, json.loads(json.dumps(plain))
        change(new, about)
        write_tensors(run.checkpoint_file, new, {"gateflow": json.dumps(about)})
        with pytest.raises(GateflowError) as caught:
            resume(run, updates=12)
        assert "last.safetensors" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        return str(caught.value)

    yield go_on
    write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(plain)})


def test_what_was_not_changed_goes_on(content):
    resume(content[0], updates=10)


RETYPED = (torch.int8, torch.bool, torch.float64, torch.float16)
CHANGES = {
    "a number": lambda t: torch.zeros(()),
    "one number": lambda t: torch.zeros(1, dtype=t.dtype),
    "nothing": lambda t: torch.zeros(0, dtype=t.dtype),
    "another row": lambda t: torch.cat([t[None], t[None]]),
    **{str(dtype): lambda t, dtype=dtype: t.to(dtype) for dtype in RETYPED},
    "NaN": lambda t: torch.full_like(t, math.nan),
    "infinity": lambda t: torch.full_like(t, -math.inf),
}


def fits(tensor, changed):
    """Whether a change left nothing to be refused."""
    same = changed.dtype == tensor.dtype and changed.shape == tensor.shape
    return same and (not changed.is_floating_point() or bool(changed.isfinite().all()))


@pytest.mark.parametrize("change", CHANGES)
def test_every_tensor_is_looked_at(content, refused, change):
    tried = 0
    for name, tensor in content[1].items():
        if change in ("NaN", "infinity") and not tensor.is_floating_point():
            continue
        changed: Tensor = CHANGES[change](tensor)
        if not fits(tensor, changed):
            refused(lambda tensors, _, name=name, changed=changed: tensors.update({name: changed}))
            tried += 1
    assert tried > 10


def test_every_tensor_is_missed(content, refused):
    for name in content[1]:
        if name != "carried.0.0":  # it is all of the carried state, which may be none
            refused(lambda tensors, _, name=name: tensors.pop(name))


STRANGERS = """mine model.more optimizer optimizer.0.more optimizer.99.step optimizer.x random.0.gpu random.1.cpu
random.x.cpu random.-1.cpu carried.0 carried.0.1 carried.1.0 carried.x.y carried.0.0.0""".split()


@pytest.mark.parametrize("name", [*STRANGERS, "model.\x1b[31m", f"optimizer.{'9' * 5000}.step"])
def test_no_tensor_is_taken_that_nobody_asked_for(refused, name):
    message = refused(lambda tensors, _: tensors.update({name: torch.zeros(3)}))
    assert message.isprintable()


def test_a_state_that_no_generator_has(refused):
    assert "random state" in refused(lambda tensors, _: tensors["random.0.cpu"].fill_(255))


def test_moments_are_never_negative(refused):
    assert "optimizer.0.exp_avg_sq holds numbers that no training leads to" in refused(
        lambda tensors, _: tensors["optimizer.0.exp_avg_sq"].fill_(-1)
    )
    refused(lambda tensors, _: tensors["optimizer.0.step"].fill_(-1))


WRONG = [None, "7", [], {}, True, -1, 10**30, -(10**30), math.nan, math.inf, [[]] * 3, "\x1b[2J"]
MAY_BE = {
    "best": [None, -1],
    "best_loss": [None, -1],
    "loss_sum": [-1],
    "seconds": [10**30],
    "interval_seconds": [10**30],
    "elapsed": [10**30],
}


def test_every_counter_is_looked_at(content, refused):
    for name in content[2]["progress"]:
        for wrong in WRONG:
            may_be = [*MAY_BE.get(name, []), *([{}] if name in ("clipper", "cut") else [])]
            if wrong in may_be or (name in ("best", "best_loss", "loss_sum") and wrong in (10**30, -(10**30))):
                continue
            refused(lambda _, about, name=name, wrong=wrong: about["progress"].update({name: wrong}))
        if name not in ("cut", "stale", "best_loss", "elapsed"):  # older versions did not write them down
            refused(lambda _, about, name=name: about["progress"].pop(name))
    refused(lambda _, about: about["progress"].update(more=1))


def test_everything_of_the_clipper_is_looked_at(content, refused):
    for name in content[2]["progress"]["clipper"]:
        for wrong in (None, "7", {}, -1, math.nan, [-1.0], ["a"], [[]], [math.nan]):
            refused(lambda _, about, name=name, wrong=wrong: about["progress"]["clipper"].update({name: wrong}))
        refused(lambda _, about, name=name: about["progress"]["clipper"].pop(name))
    refused(lambda _, about: about["progress"].update(clipper={}))


def test_everything_else_is_looked_at(content, refused):
    assert set(content[2]) == {"progress", "optimizer", "processes", "multiplier"}
    for name in content[2]:
        # Older versions wrote no multiplier, and another machine has others: `test_another_machines_multiplier`.
        newer = name == "multiplier"
        for wrong in ([], -1, 2**70, math.nan, "7" * 41, *(() if newer else (None, "7"))):
            refused(lambda _, about, name=name, wrong=wrong: about.update({name: wrong}))
        if not newer:
            refused(lambda _, about, name=name: about.pop(name))
    for processes in (0, 2, 2**19):
        refused(lambda _, about, processes=processes: about.update(processes=processes))


def test_another_machines_multiplier(content):
    run, tensors, plain = content
    write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(plain | {"multiplier": "7"})})
    with pytest.warns(RunWarning, match="'7', which this machine does not have"):
        resume(run, updates=10)


@pytest.mark.parametrize("batch", [6, 7, 2**62])
def test_a_position_beyond_the_epoch_trains_on_nothing_and_is_refused(refused, batch):
    message = refused(lambda _, about: about["progress"].update(batch=batch))
    assert f"stands at batch {batch} of an epoch" in message
    assert "an epoch has 6 updates of 1" in message


def test_rates_are_those_of_the_configuration(content):
    run, tensors, plain = content
    groups = [{**group, "lr": math.nan, "betas": "none", "params": [99]} for group in plain["optimizer"]["groups"]]
    outcomes = []
    for about in (plain, {**plain, "optimizer": {**plain["optimizer"], "groups": groups}}):
        write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(about)})
        resume(run, updates=12)
        outcomes.append(read_tensors(run.checkpoint_file)[0])
        write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(plain)})
    for name, tensor in outcomes[0].items():
        assert torch.equal(tensor, outcomes[1][name]), name


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "null", "[" * 100_000, '{"progress": 1e999}'])
def test_what_is_no_description_is_refused(content, text):
    run, tensors, plain = content
    write_tensors(run.checkpoint_file, tensors, {"gateflow": text})
    with pytest.raises(RunError, match=r"last\.safetensors is no checkpoint of gateflow"):
        resume(run)
    write_tensors(run.checkpoint_file, tensors, {"gateflow": json.dumps(plain)})


def test_a_text_that_ends_before_its_epoch_is_no_training(content):
    run = content[0]

    class Shortened(EchoTask):
        def batches(self, epoch, start):
            yield from list(super().batches(epoch, start))[:1]

    settings = EchoRun.open(run.path).config().training.model_copy(update={"max_updates": 12})
    with pytest.raises(RunError, match="its data ended before the epoch did"):
        TrainingLoop(Shortened(), settings, run, join_processes(settings)).train()
