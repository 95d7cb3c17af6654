"""The C++ that all kernels share: vectors, functions, products and threads, each judged by a driver in C++."""

import os

import pytest
from tests.backends.cpu.native.check import PRODUCTS, VARIANTS, run

from gateflow.backends.cpu.toolchain import candidates
from gateflow.compiler.compositions import COMPOSITIONS
from gateflow.compiler.operations import OPERATIONS
from gateflow.errors import BuildError

QUICK = [name for name in ("native", "avx2", "sse2") if name in VARIANTS]


def has_compiler():
    try:
        return bool(next(candidates(os.environ.get("CXX", ""), os.environ["PATH"])))
    except BuildError:
        return False


pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on the PATH")


@pytest.mark.parametrize("variant", QUICK)
def test_every_function_is_as_accurate_as_it_says(variant, tmp_path):
    done = run("accuracy", variant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # A product with a factor that may be flushed is measured as kernels run, with subnormals flushed.
    rows = [row.accuracy for row in (*OPERATIONS.values(), *COMPOSITIONS.values()) if row.accuracy is not None]
    products = sum(accuracy.least > 2**-126 for accuracy in rows)
    by_hand = ("x^2.7", "x^-1.5", "x^5", "1.3^x", "reciprocal")
    assert done.stdout.count("ulp") == 2 * (len(rows) + len(by_hand)) - products


@pytest.mark.parametrize("variant", [*QUICK, "wide", "address"])
def test_lanes_do_what_plain_cpp_does(variant, tmp_path):
    done = run("vectors", variant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", [name for name in ("bf16", "bf16-amx") if name in PRODUCTS])
def test_products_in_bf16_are_those_of_rounded_factors_with_and_without_units(variant, tmp_path):
    done = run("products", variant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", [*QUICK, "address"])
def test_large_products_in_bf16_are_exact_where_sums_are(variant, tmp_path):
    done = run("paired", variant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", ["native", "thread"])
def test_threads_meet(variant, tmp_path):
    done = run("threads", variant, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
