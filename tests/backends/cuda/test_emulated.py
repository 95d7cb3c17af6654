"""The CUDA kernels' own text on a CPU, a lane a fiber: what they compute is what the reference loop computes."""

import functools
import shutil
import warnings

import pytest
import torch
from tests.backends.cuda import emulation
from tests.backends.cuda.emulation import EmulatedFunction, Emulation
from tests.compiler.fuzz import case_of
from tests.recurrence.case import Case, assert_same

from gateflow import Recurrent, cells
from gateflow.backends import BACKENDS, Sequences
from gateflow.backends.cuda import CUDA, kernel
from gateflow.compiler import look_at
from gateflow.errors import KernelError, PathError, ReferencePathWarning
from gateflow.recurrence import explain, force_path, run_layer

T, I, H = 4, 3, 10
LENGTHS = [4, 1, 3, 0, 4, 2]
NEAR = 1e-4  # two orders of sums in float32


@pytest.fixture
def on(monkeypatch):
    """Lets the native path of CPU tensors run on an emulated card."""

    def run_on(machine):
        # A backward loop that cannot be built or launched would be the reference's, and right.
        warnings.simplefilter("error", ReferencePathWarning)
        monkeypatch.setitem(BACKENDS, "cpu", CUDA(lambda device: machine, lambda: None, lambda index: "NVIDIA H200"))

    return run_on


def pair(name, size=H):
    torch.manual_seed(3)
    return cells.get(name)(I, size), cells.get(name)(I, size)


def check(case):
    assert_same(case.run("native"), case.run("reference"), NEAR, case)


# One of each kind of pass; each takes a second or two of a compiler.
FEW = ("elman", "lstm", "gru", "full_gru", "peephole_lstm", "layernorm_lstm", "slstm")
REST = [pytest.param(name, marks=pytest.mark.long) for name in cells.names() if name not in FEW]


@pytest.mark.parametrize("name", [*FEW, *REST])
def test_every_cell(on, name):
    on(Emulation())
    check(Case(pair(name), T, len(LENGTHS), LENGTHS))


@pytest.mark.parametrize("machine", [Emulation(1), Emulation(7, seed=1), Emulation(4, 10 << 10), Emulation(2, 5 << 10)])
@pytest.mark.parametrize("batch", [1, 7, 21])
def test_however_a_run_is_cut(on, machine, batch):
    """One block or many, several groups of samples for each, weights that do not fit into shared memory."""
    on(machine)
    lengths = [(5 * k) % (T + 1) for k in range(batch)]
    check(Case(pair("layernorm_gru", 21), T, batch, lengths if batch > 1 else None, seed=batch))


@pytest.mark.parametrize("seed", [2, 5, 17])
def test_random_cells(on, seed):
    on(Emulation(seed=seed))
    case, _ = case_of(seed)
    narrow = tuple(cell.float() for cell in case.cells)
    check(Case(narrow, case.T, case.B, case.lengths, zoneout=case.zoneout, memory=case.memory, seed=seed))


def test_what_kernels_cannot_yet_is_said(on):
    """This random cell takes slices of rows that it makes."""
    on(Emulation())
    case, _ = case_of(11)
    with pytest.raises(PathError, match="reads parts of rows that it makes"):
        Case(tuple(cell.float() for cell in case.cells), T, 3).run("native")


@pytest.mark.parametrize("memory", ["fast", "lean"])
def test_zoneout_and_lean_memory(on, memory):
    on(Emulation())
    check(Case(pair("full_gru"), T, len(LENGTHS), LENGTHS, zoneout=True, memory=memory))


def test_a_long_run_is_several_launches(on, monkeypatch):
    on(Emulation())
    monkeypatch.setattr(kernel, "MOST_OF_TAPE", 4000)
    check(Case(pair("gru"), 9, 5, [9, 2, 5, 0, 7]))


def test_a_sample_alone_is_the_same_as_in_a_batch(on):
    cell, x = pair("layernorm_gru", 21)[:1], torch.randn(T, 19, I)
    start = (torch.randn(19, 21),)
    for_all, one = [], []
    with torch.no_grad(), force_path("native"):
        on(Emulation(5))
        for_all = run_layer(cell, x, (start,))[0][0]
        for k in (0, 7, 18):
            one = run_layer(cell, x[:, k : k + 1], ((start[0][k : k + 1],),))[0][0]
            assert torch.equal(one[:, 0], for_all[:, k])


def test_products_of_bfloat16(on):
    case = Case(pair("lstm"), T, len(LENGTHS), LENGTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = case.run("native")
        on(Emulation())
        assert_same(case.run("native"), wanted, 2e-2, case)


def test_products_of_bfloat16_whose_depth_is_no_whole_number_of_what_a_warp_asks_for_at_once(on):
    """Nothing may be waited for that lies beyond an operand: nobody writes it before this step has ended."""
    case = Case(pair("lstm", 144)[:1], 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = case.run("native")
        on(Emulation(2, 1 << 20))
        assert_same(case.run("native"), wanted, 2e-2, case)


class Levelled(cells.get("projected_lstm")):
    """Its memory sees the mean of its output, which is a row of another width."""

    def step(self, x, h, c):
        h, c = super().step(x, h, c)
        return h, torch.tanh(c + h.mean(-1, keepdim=True))


@pytest.mark.parametrize("processors", [1, 6])
def test_numbers_of_rows_of_another_width(on, processors):
    """One block has more units of one width than threads, and of six some have none of the other."""
    torch.manual_seed(3)
    on(Emulation(processors))
    check(Case((Levelled(I, 24, proj_size=5),), T, 3))


def test_torchs_kernel_is_taken_where_it_was_faster(on):
    on(Emulation())
    small, other = Recurrent("lstm", I, H), Recurrent("peephole_lstm", I, H)
    assert "µs a training step" in str(explain(small))
    assert explain(small).paths == ("vendor",)
    assert explain(small, torch.randn(T, 2, I, dtype=torch.bfloat16)).paths == ("native",)
    assert explain(other).paths == ("native",)
    with force_path("native"):
        assert explain(small).paths == ("native",)


def test_while_torch_compiles_ours_stays_in_the_graph(on):
    """Torch's kernel would leave it, and `fullgraph=True` could not be had."""
    on(Emulation())
    small, x = Recurrent("lstm", I, H), torch.randn(T, 2, I)
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x)[0], small(x)[0])


def test_a_wait_without_end_is_an_error(on, monkeypatch):
    whole = EmulatedFunction.__call__
    monkeypatch.setattr(EmulatedFunction, "__call__", lambda self, blocks, *rest: whole(self, blocks - 1, *rest))
    on(Emulation())
    with pytest.raises(KernelError, match="waited for what never came"):
        BACKENDS["cpu"].forward(_run_of(pair("lstm")[0]), keep=False)


# What holds only as long as lanes, warps or blocks go on at the same speed, or as words are seen as they are written.
FAULTS = {
    "two steps of a tape take turns": ("tape.cuh", "(iteration * call.groups", "(iteration % 2 * call.groups"),
    "one word of four is waited for": ("tape.cuh", "missing |= i < count &&", "missing |= i < 1 && i < count &&"),
    "sums are read before all warps have made theirs": (
        "recurrence.cuh",
        "    block_barrier();\n    for (int i = thread(); i < rows",
        "    for (int i = thread(); i < rows",
    ),
    "a product is begun before all have read the sums of the last one": (
        "recurrence.cuh",
        "shared_memory()[call.sums + i] = sum;\n    }\n    block_barrier();",
        "shared_memory()[call.sums + i] = sum;\n    }",
    ),
    "a lane reads what others of its warp bring": (
        "product.cuh",
        "            warp_barrier();\n            const int depth",
        "            const int depth",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_lanes_that_take_turns_at_random(on, monkeypatch, tmp_path, fault):
    """Else nothing is known of kernels that pass."""
    file, right, wrong = FAULTS[fault]
    folder = shutil.copytree(emulation.FOLDERS[1], tmp_path / "native")
    text = (folder / file).read_text()
    assert text.count(right) == 1
    (folder / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(emulation, "FOLDERS", (emulation.FOLDERS[0], folder))
    monkeypatch.setattr(emulation, "_built", functools.cache(emulation._built.__wrapped__))
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path / "cache"))
    cell = pair("full_gru")[0]
    x, start = torch.randn(5, 6, I), (torch.randn(6, H),)

    def output(path):
        with force_path(path), torch.no_grad():
            return run_layer((cell,), x, (start,))[0][0]

    def is_found(seed):
        on(Emulation(seed=seed))
        return not torch.allclose(output("native"), wanted, atol=NEAR)

    wanted = output("reference")
    assert any(map(is_found, range(30)))


def _run_of(cell):
    weights = {name: w.detach() for name, w in cell.named_parameters()}
    return Sequences(look_at(cell, zoneout=False), torch.randn(T, I), weights, [torch.zeros(1, H)] * 2)
