"""NVRTC builds the kernels of all shipped cells for the cards that there are, on a machine without one."""

import re

import pytest

from gateflow import cells
from gateflow.backends.cuda import nvrtc
from gateflow.backends.cuda.card import WARPS
from gateflow.backends.cuda.kernel import loop_of
from gateflow.backends.cuda.machine import Variant
from gateflow.compiler import compile_cell
from gateflow.errors import BuildError

pytestmark = pytest.mark.skipif(nvrtc.obstacle() is not None, reason="needs NVRTC (pip install nvidia-cuda-nvrtc)")

ARCHITECTURES = ["sm_80", "sm_90a", "sm_100a"]
LOOPS = ["train", "backward"]
REGISTERS = [65536 // (32 * warps) for warps in WARPS]
"""More than these, and a block does not start."""
SPILLED = 1024
"""Bytes at most that a thread keeps in local memory instead; only large steps do, and their cache has room for it."""


def variant_of(loop, samples, matrix_units=False):
    many = sum(bool(each.terms) for each in loop.exchange.passes) > 2
    return Variant(
        samples, weights_are_shared=True, many_products=many, matrix_units=matrix_units, warps=WARPS[matrix_units]
    )


@pytest.mark.parametrize(("k", "name"), list(enumerate(cells.names())))
def test_every_cell_is_built(k, name):
    """Each cell for one kind of card, forward or backward, for groups of one size: all of them meet all of these."""
    loop = loop_of(compile_cell(cells.get(name)(5, 8)), LOOPS[k % 2])
    matrix_units = k // 2 % 3 > 0 and k % 5 > 1
    definitions = variant_of(loop, (4, 8, 16)[k // 2 % 3], matrix_units).definitions()
    kernel, said = nvrtc.compiled(loop.text, ARCHITECTURES[k % 3], definitions)
    assert kernel[:4] == b"\x7fELF"
    assert max(map(int, re.findall(r"Used (\d+) registers", said))) <= REGISTERS[matrix_units]
    assert max(map(int, re.findall(r"(\d+) bytes spill stores", said))) <= SPILLED, said
    assert "warning" not in said, said


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loop", LOOPS)
def test_little_of_an_lstm_is_spilled(architecture, loop):
    loop = loop_of(compile_cell(cells.LSTM(5, 8)), loop)
    _, said = nvrtc.compiled(loop.text, architecture, variant_of(loop, 4).definitions())
    # What is asked for before a product, in products of float32 with 128 registers.
    assert max(map(int, re.findall(r"(\d+) bytes spill stores", said))) <= 256, said


def test_a_cubin_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path))
    loop = loop_of(compile_cell(cells.Elman(5, 8)), "infer")
    made = nvrtc.cubin(loop.text, "sm_90", variant_of(loop, 4).definitions())
    assert made.suffix == ".cubin"
    assert made.with_suffix(".cu").read_text() == loop.text
    monkeypatch.setattr(nvrtc, "compiled", lambda *_: pytest.fail("built again"))
    assert nvrtc.cubin(loop.text, "sm_90", variant_of(loop, 4).definitions()) == made


def test_a_refusal_has_the_words_of_the_compiler():
    with pytest.raises(BuildError, match="NVRTC could not compile .*expected"):
        nvrtc.compiled("int broken(", "sm_90", {})
