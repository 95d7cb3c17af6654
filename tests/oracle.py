"""How near is near enough, in one table, and the comparisons that use it.

The judges stand outside: `torch.nn`, ONNX, numpy transcriptions, `gradcheck`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from gateflow.backends.cpu.build import toolchain
from gateflow.errors import BuildError

# (relative, absolute). float64: only the order of summation may differ. float32: the same order differs over up to
# some hundred terms per product and some steps of time. bfloat16 has 8 bits.
TOLERANCE = {torch.float64: (1e-11, 1e-12), torch.float32: (2e-5, 2e-6), torch.bfloat16: (4e-2, 2e-2)}

# Gradients of weights sum over T·B more terms than outputs do.
GRADIENT_TOLERANCE = {torch.float64: (1e-10, 1e-11), torch.float32: (1e-4, 1e-5)}


def _has_compiler() -> bool:
    try:
        toolchain()
    except BuildError:
        return False
    return True


HAS_COMPILER = _has_compiler()
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
PATHS = ["native", "vendor", "reference"] if HAS_COMPILER else ["vendor", "reference"]


def assert_close(found: Tensor, wanted: Tensor, what: str) -> None:
    """Same shape, type and, within the table, same values."""
    _assert(found, wanted, TOLERANCE[wanted.dtype], what)


def assert_gradients_close(found: Iterable[Tensor | None], wanted: Iterable[Tensor | None], names: list[str]) -> None:
    """Every gradient, by name."""
    for a, b, name in zip(found, wanted, names, strict=True):
        assert (a is None) == (b is None), f"gradient of {name}: one of them is missing"
        if a is not None and b is not None:
            _assert(a, b, GRADIENT_TOLERANCE[b.dtype], f"gradient of {name}")


def gradients(outputs: Iterable[Tensor], inputs: Iterable[Tensor], seed: int = 1) -> tuple[Tensor, ...]:
    """Gradients of `inputs` for random cotangents, the same ones for the same shapes and seed."""
    generator, outputs = torch.Generator().manual_seed(seed), list(outputs)
    cotangents = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype) for y in outputs]
    return torch.autograd.grad(outputs, list(inputs), cotangents, retain_graph=True)


def _assert(found: Tensor, wanted: Tensor, tolerance: tuple[float, float], what: str) -> None:
    rtol, atol = tolerance
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol, msg=lambda m: f"{what}: {m}")
