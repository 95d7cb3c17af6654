"""Who multiplies in bfloat16: each is right, no thread changes a bit, and the choice is one for all processes."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.backends.cpu.test_gemm import run, sizes
from tests.oracle import needs_compiler
from tests.training.test_loop import StopAfter
from tests.training.tiny import EchoTask, echo_run

from gateflow import GRU, Recurrent
from gateflow.backends.cpu import multiplier
from gateflow.backends.cpu.gemm import Gemms
from gateflow.backends.cpu.multiplier import available, factor, forced, go_on_with
from gateflow.errors import RunWarning
from gateflow.recurrence import force_path
from gateflow.training.checkpoint import Checkpoint
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

pytestmark = needs_compiler

# Our own is right on every CPU, and chosen from where there are units.
ALL = sorted({"own", *available()})


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(multiplier, "_resumed", [])
    yield
    multiplier._measured.cache_clear()


def product(name, to, left, right, *, transposed, fresh=False):
    gemms = Gemms(torch.float32, name)
    gemms.add(to, factor(left, name), factor(right, name), transposed=transposed, fresh=fresh)
    run(gemms, torch.float32)
    return to


@given(st.sampled_from(ALL), sizes, sizes, sizes | st.just(515), st.booleans(), st.booleans())
def test_products_are_those_of_the_rounded_factors(name, rows, columns, depth, transposed, fresh):
    left, right = torch.randn(rows, depth), torch.randn(depth, 2 * columns)[:, columns:]
    expected = (not fresh) + left.bfloat16().double() @ right.bfloat16().double()
    whole = torch.ones(rows + 2, columns + 3)
    given_left = left.T.contiguous() if transposed else left
    product(name, whole[1:-1, 2:-1], given_left, right, transposed=transposed, fresh=fresh)
    torch.testing.assert_close(whole[1:-1, 2:-1].double(), expected, rtol=1e-5, atol=2e-4)
    whole[1:-1, 2:-1] = 1
    assert (whole == 1).all(), "a number beside the result was written"


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_finite_stays_where_it_is(name):
    left, right = torch.ones(40, 33), torch.ones(33, 40)
    left[7, 32] = torch.nan
    found = product(name, torch.zeros(40, 40), left, right, transposed=False)
    assert found[7].isnan().all()
    assert (found[[*range(7), *range(8, 40)]] == 33).all()


@pytest.mark.parametrize("name", ALL)
def test_the_number_of_threads_changes_no_bit(name):
    left, right, before = torch.randn(1024, 700), torch.randn(1024, 90), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(product(name, torch.zeros(700, 90), left, right, transposed=True))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found)


def gradients():
    torch.manual_seed(0)
    layer, x = Recurrent("lstm", 33, 65), torch.randn(40, 9, 33, requires_grad=True)
    with force_path("native"), torch.autocast("cpu", torch.bfloat16):
        layer(x)[0].sum().backward()
    return [each.grad for each in (x, *layer.parameters()) if each.grad is not None]


def test_gradients_of_a_layer_are_made_by_the_one_that_is_forced():
    found = {}
    for name in available():
        with forced(name):
            found[name] = gradients()
            assert all(torch.equal(a, b) for a, b in zip(found[name], gradients(), strict=True))
    for each in found.values():
        for a, b in zip(each, found["float32"], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


def test_what_is_not_there_cannot_be_forced():
    with (
        pytest.raises(ValueError, match=r"'abacus' does not multiply bfloat16 here; there are .*float32"),
        forced("abacus"),
    ):
        pass


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Measurements with a result that is known, in a cache of their own."""
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(multiplier, "available", lambda: ("mkl", "own", "float32"))
    given = ["own"]

    def fastest():
        asked.append(given[0])
        return given[0]

    asked: list[str] = []
    monkeypatch.setattr(multiplier, "fastest", fastest)

    def chosen(now="own"):
        given[0] = now
        multiplier._measured.cache_clear()
        return multiplier.chosen(), len(asked)

    return chosen


def test_the_choice_is_measured_once_and_kept(answers, tmp_path):
    multiplier._measured.cache_clear()
    assert multiplier.in_use() is None
    assert answers("own") == ("own", 1)
    assert multiplier.in_use() == "own"
    assert answers("mkl") == ("own", 1), "it is that of the file"
    (file,) = tmp_path.glob("*.choice")
    assert file.stat().st_mode & 0o777 == 0o600


DAMAGE = {
    "empty": lambda file: file.write_text(""),
    "another word": lambda file: file.write_text(file.read_text().replace("own", "mkl")),
    "no text": lambda file: file.write_bytes(b"\xff" * 70),
    "huge": lambda file: file.write_text("own " * 1000),
    "of others": lambda file: file.chmod(0o666),
    "a link": lambda file: (file.rename(file.with_suffix(".x")), file.symlink_to(file.with_suffix(".x"))),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_choice_is_measured_anew(damage, answers, tmp_path):
    answers("own")
    (file,) = tmp_path.glob("*.choice")
    damage(file)
    assert answers("float32") == ("float32", 2)
    assert answers("own") == ("float32", 2), "and kept"


def test_two_processes_choose_the_same(tmp_path):
    program = "from gateflow.backends.cpu.multiplier import chosen; print(chosen())"
    environment = {"GATEFLOW_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    both = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment, text=True)
        for _ in range(2)
    ]
    assert both[0].stdout == both[1].stdout
    assert both[0].stdout.strip() in available()


def test_a_checkpoint_goes_on_with_its_own(tmp_path):
    run, _ = echo_run(tmp_path / "run")
    read = Checkpoint.read(run.checkpoint_file)
    assert read.multiplier is None
    Checkpoint(read.tensors, read.progress, read.optimizer, multiplier="float32").write(tmp_path / "c")
    go_on_with(Checkpoint.read(tmp_path / "c").multiplier)
    assert multiplier.chosen() == multiplier.in_use() == "float32"
    go_on_with(None)
    assert multiplier._set() is None


class Compiled(EchoTask):
    def __init__(self):
        super().__init__()
        self.model.recurrent = GRU(3, 8)


def unreachable():
    raise AssertionError("nothing is measured")


def train(run, config, *callbacks):
    return TrainingLoop(Compiled(), config.training, run, join_processes(config.training), callbacks).train()


def test_a_run_goes_on_with_the_one_that_it_began_with(tmp_path, monkeypatch):
    """Resumed where another is the fastest, it makes the same bits."""
    runs = {name: echo_run(tmp_path / name, precision="bf16", epochs=2) for name in ("whole", "cut")}
    with forced("float32"):
        train(*runs["whole"])
    with forced("float32"):
        assert train(*runs["cut"], StopAfter(3)).interrupted
    monkeypatch.setattr(multiplier, "fastest", unreachable)
    train(*runs["cut"])
    whole, cut = (Checkpoint.read(run.checkpoint_file) for run, _ in runs.values())
    assert whole.multiplier == cut.multiplier == "float32"
    assert all(torch.equal(whole.tensors[name], tensor) for name, tensor in cut.tensors.items())
    assert runs["whole"][0].model_file.read_bytes() == runs["cut"][0].model_file.read_bytes()


def test_a_checkpoint_of_another_machine_goes_on_with_a_warning():
    with pytest.warns(RunWarning, match=r"made by 'abacus', which this machine does not have .*not to the bit"):
        go_on_with("abacus")
    assert multiplier.chosen() in available()
