"""NVRTC builds the kernels of all shipped cells for the cards that there are, on a machine without one."""

import re

import pytest
import torch
from tests.backends.cuda.emulation import Emulation

from gateflow import cells
from gateflow.backends.cuda import nvrtc
from gateflow.backends.cuda.card import WARPS
from gateflow.backends.cuda.grid import grid
from gateflow.backends.cuda.kernel import loop_of
from gateflow.compiler import compile_cell
from gateflow.compiler.node import Sizes
from gateflow.errors import BuildError

pytestmark = pytest.mark.skipif(nvrtc.obstacle() is not None, reason="needs NVRTC (pip install nvidia-cuda-nvrtc)")

ARCHITECTURES = ["sm_80", "sm_90a", "sm_100a"]
LOOPS = ["train", "backward"]
PRODUCTS = [None, None, torch.bfloat16, torch.bfloat16, torch.float16]
REGISTERS = 65536 // (32 * WARPS)
"""More than these, and a block does not start."""


class H100(Emulation):
    """What is known of a card without one."""

    def __init__(self):
        super().__init__(132, 227 << 10, WARPS)


def text_of(name, which, size, batch, products=None):
    cell = cells.get(name)(5, size)
    loop = loop_of(compile_cell(cell), which)
    sizes = Sizes(H=size, P=next(iter(cell.state_sizes.values())), I=cell.row_size)
    return loop.text_for(grid(loop.exchange, sizes, batch, H100(), products=products, ragged=size == 128))


@pytest.mark.parametrize(("k", "name"), list(enumerate(cells.names())))
def test_every_cell_is_built(k, name):
    """Each cell for one kind of card, forward or backward, of one size: all of them meet all of these."""
    text = text_of(name, LOOPS[k % 2], (10, 128, 512)[k // 2 % 3], (1, 16, 64)[k % 3], PRODUCTS[k % 5])
    kernel, said = nvrtc.compiled(text, ARCHITECTURES[k % 3])
    assert kernel[:4] == b"\x7fELF"
    assert max(map(int, re.findall(r"Used (\d+) registers", said))) <= REGISTERS
    assert set(re.findall(r"(\d+) bytes spill stores", said)) == {"0"}, said
    assert "warning" not in said, said


def test_a_cubin_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path))
    text = text_of("elman", "infer", 8, 4)
    made = nvrtc.cubin(text, "sm_90")
    assert made.suffix == ".cubin"
    assert made.with_suffix(".cu").read_text() == text
    monkeypatch.setattr(nvrtc, "compiled", lambda *_: pytest.fail("built again"))
    assert nvrtc.cubin(text, "sm_90") == made


def test_a_refusal_has_the_words_of_the_compiler():
    with pytest.raises(BuildError, match="NVRTC could not compile .*expected"):
        nvrtc.compiled("int broken(", "sm_90")
