"""Large products after a loop: the same as torch's, with torch's BLAS and without, and whatever the threads."""

from array import array

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oracle import needs_compiler

from gateflow.backends import Sequences
from gateflow.backends.cpu import gemm
from gateflow.backends.cpu.gemm import Gemms
from gateflow.backends.cpu.launch import Launch
from gateflow.cells import Elman
from gateflow.compiler import look_at

pytestmark = needs_compiler

sizes = st.integers(1, 40) | st.sampled_from([64, 127, 300])


def run(gemms: Gemms, dtype: torch.dtype) -> None:
    cell, zeros = Elman(1, 1, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
    weights = {n: p.detach() for n, p in cell.named_parameters()}
    one = Launch(Sequences(look_at(cell), zeros, weights, [zeros], histories=[zeros.clone()]))
    one.prepare(one.loop("infer"), 0, 0, one.known()).only(gemms)


@pytest.fixture(params=["BLAS of torch", "plain loop"])
def blas(request, monkeypatch):
    if request.param == "plain loop":
        monkeypatch.setattr(gemm, "blas", lambda dtype: array("q", [0, 0, 0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the BLAS is the same for all examples
@given(st.data(), sizes, sizes, sizes, st.booleans(), st.booleans(), st.sampled_from([torch.float32, torch.float64]))
def test_products_are_torchs(blas, data, rows, columns, depth, transposed, fresh, dtype):
    whole = torch.randn(rows + 2, columns + 3, dtype=dtype)
    left = torch.randn((depth, rows) if transposed else (rows, depth), dtype=dtype)
    right = torch.randn(1, columns, dtype=dtype).expand(depth, -1)
    if data.draw(st.booleans()):
        right = torch.randn(depth, 2 * columns, dtype=dtype)[:, columns:]
    expected = whole.clone()
    inside = expected[1:-1, 2:-1]
    inside.copy_((0 if fresh else inside) + (left.T if transposed else left) @ right)
    gemms = Gemms(dtype)
    gemms.add(whole[1:-1, 2:-1], left, right, transposed=transposed, fresh=fresh)
    run(gemms, dtype)
    torch.testing.assert_close(whole, expected, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-4)


def test_the_blas_of_torch_is_found():
    assert all(gemm.blas(dtype)[0] for dtype in (torch.float32, torch.float64)), "torch 2.13 on Linux brings one"
    assert (gemm.blas(torch.float32)[2] != 0) == torch.backends.mkl.is_available()


def test_phases_follow_each_other(blas):
    """Later phases see what earlier ones have written: here each product reads what the one before has made."""
    start, made = torch.eye(300), [torch.zeros(300, 300) for _ in range(6)]
    step, gemms = torch.randn(300, 300) / 300**0.5, Gemms(torch.float32)
    for phase, (before, after) in reversed(list(enumerate(zip([start, *made], made, strict=False)))):
        gemms.add(after, step, before, phase=phase)
    run(gemms, torch.float32)
    torch.testing.assert_close(made[-1], torch.linalg.matrix_power(step, 6), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_threads_changes_no_bit(blas, count):
    left, right, before = torch.randn(1000, 700), torch.randn(1000, 90), torch.get_num_threads()
    results = []
    try:
        for threads in (1, count):
            torch.set_num_threads(threads)
            gemms, to = Gemms(torch.float32), torch.zeros(700, 90)
            gemms.add(to, left, right, transposed=True)
            assert gemms.threads == threads
            run(gemms, torch.float32)
            results.append(to)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)
