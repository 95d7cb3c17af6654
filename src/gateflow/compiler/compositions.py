"""Functions of torch that are made of other operations: what each is made of, so that its derivative need not be said.

    silu(a)      →      a * sigmoid(a)

Each is what torch computes, its gradient at every kink and its limits included (`tests/compiler/test_compositions.py`).
Where torch takes a bound into a flat part, or leaves it out, the comparison says which.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateflow.compiler.node import Node, pointwise
from gateflow.compiler.operations import Accuracy

__all__ = ["COMPOSITIONS", "Composition"]


@dataclass(frozen=True, eq=False)
class Composition:
    """A function of torch as a graph of operations.

    Attributes:
        lower: from its arguments, by torch's names, to its node; none where these arguments are not known.
        examples: how a step writes it, for random cells and for the comparison with torch.
        accuracy: how accurate it is in float32, as in `Operation`; none where it cancels as torch's does.
    """

    lower: Callable[..., Node | None]
    examples: tuple[str, ...]
    accuracy: Accuracy | None = None


def _in_place(lower: Callable[..., Node | None]) -> Callable[..., Node | None]:
    """Of torch's activations, which take `inplace=`."""
    # A graph has values and no order: other uses of the row would have to see the change.
    return lambda *args, inplace=False, **options: None if inplace else lower(*args, **options)


def _where(condition: Node, a: Node | float, b: Node | float) -> Node:
    return pointwise("where", condition, a, b)


def _between(a: Node, low: Any, high: Any, inside: Node) -> Node:
    """`inside` between two numbers, a number beyond them; flat at both, and NaN stays NaN."""
    return _where(pointwise("le", a, low), low, _where(pointwise("ge", a, high), high, inside))


def _silu(a: Node) -> Node:
    return a * pointwise("sigmoid", a)


def _gelu(a: Node, *, approximate: Any = "none") -> Node | None:
    match approximate:
        case "none":
            return a * pointwise("ndtr", a)
        case "tanh":
            # (1 + tanh u) / 2 is sigmoid(2u): one exponential, and no cancellation where tanh is near -1.
            u = (a + a * a * a * 0.044715) * math.sqrt(8 / math.pi)
            return a * pointwise("sigmoid", u)
        case _:
            return None


def _hardswish(a: Node) -> Node:
    share = (a + 3.0) * (1 / 6)
    return a * _where(pointwise("le", a, -3.0), 0.0, _where(pointwise("ge", a, 3.0), 1.0, share))


def _hardtanh(a: Node, min_val: Any = -1.0, max_val: Any = 1.0) -> Node:
    return _between(a, min_val, max_val, a)


def _elu(a: Node, alpha: Any = 1.0, *, scale: float = 1.0, width: Any = 1.0) -> Node:
    # Bounded, or the branch that is not taken would overflow, and 0 · ∞ be the gradient.
    below = pointwise("expm1", pointwise("clamp", pointwise("div", a, width), -math.inf, 0.0))
    return _where(pointwise("le", a, 0.0), pointwise("mul", below, alpha) * scale, a * scale)


def _celu(a: Node, alpha: Any = 1.0) -> Node | None:
    # torch's gradient takes alpha as a float32: with another one kernel and loop would be 1e-8 apart. A negative one
    # would turn the bound of `_elu` round.
    value = alpha.values[0] if isinstance(alpha, Node) and alpha.op == "constant" else alpha
    if not isinstance(value, float) or value <= 0 or struct.unpack("f", struct.pack("f", value))[0] != value:
        return None
    return _elu(a, value, width=value)


def _leaky_relu(a: Node, negative_slope: Any = 0.01) -> Node:
    return _where(pointwise("gt", a, 0.0), a, pointwise("mul", a, negative_slope))


def _softsign(a: Node) -> Node:
    return a / (pointwise("abs", a) + 1.0)


def _mish(a: Node) -> Node:
    return a * pointwise("tanh", pointwise("softplus", a))


def _logsigmoid(a: Node) -> Node:
    return -pointwise("softplus", -a)


def _softshrink(a: Node, lambd: Any = 0.5) -> Node:
    outside = _where(pointwise("gt", a, 0.0), pointwise("sub", a, lambd), pointwise("add", a, lambd))
    return _where(pointwise("le", pointwise("abs", a), lambd), 0.0, outside)


def _hardshrink(a: Node, lambd: Any = 0.5) -> Node:
    return _where(pointwise("le", pointwise("abs", a), lambd), 0.0, a)


def _threshold(a: Node, threshold: Any, value: Any) -> Node:
    return _where(pointwise("le", a, threshold), value, a)


def _addcmul(a: Node, tensor1: Node, tensor2: Node, *, value: Any = 1.0) -> Node:
    return pointwise("add", a, pointwise("mul", pointwise("mul", tensor1, value), tensor2))


def _addcdiv(a: Node, tensor1: Node, tensor2: Node, *, value: Any = 1.0) -> Node:
    return pointwise("add", a, pointwise("div", pointwise("mul", tensor1, value), tensor2))


# Of selu: Klambauer et al. 2017, Self-normalizing neural networks, to the digits that torch has.
_ALPHA, _SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _tail(ulp: float, exact: str) -> Accuracy:
    """Of a product whose small factor is flushed to 0 where it is no normal number."""
    return Accuracy(ulp, exact, least=1e-35)


COMPOSITIONS: dict[str, Composition] = {
    "silu": Composition(_in_place(_silu), ("F.silu({0})",), _tail(3, "x / (1 + std::exp(-x))")),
    "gelu": Composition(
        _gelu, ("F.gelu({0})", "F.gelu({0}, approximate='tanh')"), _tail(7.5, "x * std::erfc(x * -M_SQRT1_2) / 2")
    ),
    "mish": Composition(
        _in_place(_mish),
        ("F.mish({0})",),
        _tail(6, "x * std::tanh(x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)))"),
    ),
    "elu": Composition(
        _in_place(_elu), ("F.elu({0})", "F.elu({0}, alpha=0.7)"), Accuracy(1.7, "x > 0 ? x : std::expm1(x)")
    ),
    "selu": Composition(_in_place(lambda a: _elu(a, _ALPHA, scale=_SCALE)), ("F.selu({0})",)),
    "celu": Composition(_in_place(_celu), ("F.celu({0}, alpha=0.75)",)),
    "leaky_relu": Composition(_in_place(_leaky_relu), ("F.leaky_relu({0})", "F.leaky_relu({0}, 0.2)")),
    "relu6": Composition(_in_place(lambda a: _hardtanh(a, 0.0, 6.0)), ("F.relu6({0})",)),
    "hardtanh": Composition(_in_place(_hardtanh), ("F.hardtanh({0})", "F.hardtanh({0}, -0.4, 0.7)")),
    "hardswish": Composition(
        _in_place(_hardswish), ("F.hardswish({0})",), Accuracy(3, "x * std::min(std::max(x + 3, 0.0), 6.0) / 6")
    ),
    "logsigmoid": Composition(
        _logsigmoid, ("F.logsigmoid({0})",), Accuracy(3, "(x < 0 ? x : 0) - std::log1p(std::exp(-std::fabs(x)))")
    ),
    "softsign": Composition(_softsign, ("F.softsign({0})",), Accuracy(2, "x / (1 + std::fabs(x))")),
    "tanhshrink": Composition(lambda a: a - pointwise("tanh", a), ("F.tanhshrink({0})",)),
    "softshrink": Composition(_softshrink, ("F.softshrink({0}, 0.2)",)),
    "hardshrink": Composition(_hardshrink, ("F.hardshrink({0}, 0.2)",)),
    "threshold": Composition(_in_place(_threshold), ("F.threshold({0}, 0.1, -0.2)",)),
    "addcmul": Composition(_addcmul, ("torch.addcmul({0}, {0}, {1}, value=0.4)",)),
    "addcdiv": Composition(_addcdiv, ("torch.addcdiv({0}, {1}, 1.5 + abs({0}), value=0.4)",)),
    "exp2": Composition(
        lambda a: pointwise("pow", 2.0, a), ("torch.exp2({0}.clamp(-2.0, 1.5))",), Accuracy(0.6, "std::exp2(x)")
    ),
    "log2": Composition(
        lambda a: pointwise("log", a) * (1 / math.log(2)),
        ("torch.log2(0.3 + abs({0}))",),
        Accuracy(2.5, "std::log2(x)"),
    ),
}
"""By torch's name."""
