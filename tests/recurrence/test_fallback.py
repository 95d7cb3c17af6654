"""What cannot be compiled runs all the same, says so once, and is refused where it was asked to be."""

import warnings

import pytest
import torch
from tests.recurrence.case import Case, assert_same, distance

import gateflow
from gateflow import Cell, Recurrent, cells
from gateflow.backends import BACKENDS
from gateflow.backends.cpu.kernel import kernel_of
from gateflow.compiler import compile_cell
from gateflow.errors import BuildError, PathError, ReferencePathWarning
from gateflow.recurrence import explain, force_path

I, H = 3, 4


class Bent(Cell):
    """The compiler does not know the sine."""

    states, gates = ("h",), ("g",)

    def step(self, x, h):
        return torch.i0(self.g(h, x))


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def test_an_unknown_operation_runs_on_the_reference_with_one_warning():
    layer, x = Recurrent(Bent, I, H), torch.randn(5, 2, I)
    with pytest.warns(ReferencePathWarning) as told:
        y, _ = layer(x)
    assert len(told) == 1
    assert "Bent runs on the reference loop, right but slow: Bent cannot be compiled: found `i0` at" in str(
        told[0].message
    )
    assert "test_fallback.py, line " in str(told[0].message)
    assert distance(y[0], torch.i0(layer.cells[0].g(torch.zeros(2, H), x[0]))) < 1e-6
    assert explain(layer).paths == ("reference",)


def test_the_warning_comes_once():
    layer, x = Recurrent(Bent, I, H), torch.randn(5, 2, I)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            layer(x)
    assert len(told) == 1


def test_the_warning_comes_once_whatever_others_do_with_warnings():
    layer, x = Recurrent(Bent, I, H), torch.randn(5, 2, I)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            layer(x)
            # As torch does in an optimizer and elsewhere: it clears what Python knows of what was shown.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
        Recurrent(Bent, I + 1, H)(torch.randn(5, 2, I + 1))
        layer.half()(x.half())
    assert len(told) == 2
    assert "float16" in str(told[1].message)


def test_a_warning_that_somebody_ignored_comes_yet():
    layer, x = Recurrent(Bent, I, H), torch.randn(5, 2, I)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer(x)
    with pytest.warns(ReferencePathWarning, match="Bent runs on the reference loop"):
        layer(x)


def test_strict_refuses_it():
    with pytest.raises(PathError, match="Bent would run on the reference loop, which strict=True forbids: Bent cannot"):
        Recurrent(Bent, I, H, strict=True)(torch.randn(5, 2, I))


def test_forcing_the_native_path_refuses_it():
    with force_path("native"), pytest.raises(PathError, match="Bent cannot run on the native path: .*`i0` at"):
        Recurrent(Bent, I, H)(torch.randn(5, 2, I))


def test_without_a_compiler_torchs_kernels_run(no_compiler):
    layer = gateflow.LSTM(I, H)
    assert explain(layer).paths == ("vendor",)
    case = Case((cells.LSTM(I, H), cells.LSTM(I, H)), 5, 3, [5, 0, 2])
    assert_same(case.run("vendor"), case.run("reference"), 1e-5)
    layer(torch.randn(5, 2, I))  # a warning would be an error


def test_without_a_compiler_other_cells_run_on_the_reference(no_compiler):
    layer, x = Recurrent("full_gru", I, H, zoneout=0.2).eval(), torch.randn(5, 2, I)
    with pytest.warns(ReferencePathWarning, match="no C\\+\\+ compiler found: none of c\\+\\+") as told:
        found, _ = layer(x)
    assert len(told) == 1
    with force_path("reference"):
        assert torch.equal(found, layer(x)[0])
    with pytest.raises(PathError, match="no C\\+\\+ compiler found"):
        Recurrent("full_gru", I, H, strict=True)(x)


def test_a_compiler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert "CXX names '/nowhere/c++', which is not there" in str(explain(Recurrent("full_gru", I, H)))

    class Unbuilt(cells.Cell):
        """Equations of which no other test in this process has built a kernel."""

        states, gates = ("h",), ("g",)

        def step(self, x, h):
            return torch.tanh(self.g(h, x) * 0.123 + 0.456)

    with pytest.raises(BuildError, match="CXX names"):
        kernel_of(compile_cell(Unbuilt(I, H))).loop("stream", torch.float64)


def test_a_backward_loop_that_cannot_be_built_is_told_of(monkeypatch):
    layer, x = Recurrent("full_gru", I, H), torch.randn(5, 2, I)

    def refused(self, *arguments):
        raise BuildError("no memory for it")

    with force_path("reference"):
        wanted = torch.autograd.grad(layer(x)[0].sum(), layer.weight_hh_l0)[0]
    with force_path("native"):
        y, _ = layer(x)
    monkeypatch.setattr(type(BACKENDS["cpu"]), "backward", refused)
    with pytest.warns(ReferencePathWarning, match="FullGRU runs as a loop, right but slow: no memory for it"):
        found = torch.autograd.grad(y.sum(), layer.weight_hh_l0)[0]
    assert distance(found, wanted) < 1e-5


def test_other_dtypes_run_on_the_reference():
    layer = Recurrent("full_gru", I, H).half()
    with pytest.warns(ReferencePathWarning, match="kernels compute in float32, .* and bfloat16, the input is float16"):
        layer(torch.randn(5, 2, I).half())


def test_on_other_devices():
    with pytest.warns(ReferencePathWarning, match="kernels are built for CPUs and CUDA, the input is on meta"):
        Recurrent("full_gru", I, H).to("meta")(torch.randn(5, 2, I, device="meta"))
