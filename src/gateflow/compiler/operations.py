"""All that is known of each operation, one row each: capture, derivative, plan, interpreter and emitters read here.

    sigmoid   what torch calls it · what it is on tensors · its derivative · its cost · how C++ writes it · its accuracy

A new operation is a row here and a C++ function of its name in `backends/cpu/native/vector_math.h`. Steps may then call
it by function and by method, it has a derivative, random cells use it, and its accuracy is measured. Which other
arguments a call may have (`alpha=`, `keepdim=`) is said in `calls.py`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.compiler.node import Node, pointwise, row_sum

__all__ = ["COMPARISONS", "OPERATIONS", "TOTALS", "Accuracy", "Operation"]

DEAR = math.inf
"""The work of what is never computed twice: an exponential takes some twenty instructions, a division as long."""


@dataclass(frozen=True)
class Accuracy:
    """How far the C++ function of float32 may be from double precision; `make check-native` measures it.

    Attributes:
        ulp: the largest error, in units in the last place of the exact result.
        exact: the function in double, as C++ of `x`.
        ceiling: what no result may exceed; a sigmoid above 1 would make `1 - u` negative.
        least: results below may be anything as small; by default those that are no normal numbers.
    """

    ulp: float
    exact: str
    ceiling: float = math.inf
    least: float = 2.0**-126


@dataclass(frozen=True, eq=False)
class Operation:
    """What is known of an operation that works unit by unit.

    Attributes:
        torch: the definition, on tensors.
        derivative: `(g, y, *args)` to the gradient of each argument, where `g` is that of the result `y`; None for an
            argument that has none.
        examples: how a step writes it, for random cells: no argument out of its domain, no value beyond measure.
        work: what it costs, in additions; `DEAR` for what is never computed twice.
        infix: the sign between two arguments, in listings and in C++.
        cpp: how C++ writes it, `{0}` and so on the arguments; a function of its name by default. A function, where it
            depends on the node.
        fold: what it is of numbers, computed when a step is captured.
        neutral: for each argument the number with which the result is the other one.
        aliases: other names that torch and Python have for it.
        accuracy: how accurate its C++ function is; none where it is exact or rounded once.
    """

    torch: Callable[..., Tensor]
    derivative: Callable[..., Sequence[Node | None]]
    examples: tuple[str, ...] = ()
    work: float = 1
    infix: str = ""
    cpp: str | Callable[..., str] = ""
    fold: Callable[..., float] | None = None
    neutral: tuple[float | None, ...] = ()
    aliases: tuple[str, ...] = ()
    accuracy: Accuracy | None = None

    @cached_property
    def arity(self) -> int:
        """How many arguments it has."""
        return self.derivative.__code__.co_argcount - 2  # the first two are the gradient and the result


def _broadcast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Torch's `minimum` takes rows of width 1, but no tensor without a dimension."""
    return lambda *rows: function(*torch.broadcast_tensors(*rows))


def _where(condition: Node, a: Node | float, b: Node | float) -> Node:
    return pointwise("where", condition, a, b)


def _select(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # A truth times a number is a number, and torch.where wants truths.
    return torch.where(condition.bool() if condition.dtype != torch.bool else condition, a, b)


def _sign(a: Node) -> Node:
    """0 at 0, as torch has it."""
    return _where(pointwise("gt", a, 0.0), 1.0, _where(pointwise("lt", a, 0.0), -1.0, 0.0))


def _extremum(g: Node, a: Node, b: Node, wins: str) -> tuple[Node, Node]:
    """All to the winner; half to each where both are equal, as torch has it."""
    # `maximum` and `minimum` in tools/autograd/derivatives.yaml of torch.
    tie = pointwise("eq", a, b)
    parts = [_where(pointwise(wins, p, q), g, _where(tie, g * 0.5, 0.0)) for p, q in ((a, b), (b, a))]
    return parts[0], parts[1]


def _gauss(square: Node) -> Node:
    return pointwise("exp", -square)


def _power(g: Node, y: Node, a: Node, p: Node) -> tuple[Node, Node]:
    """0 for x⁰ and for 0ᵖ, where the formulas have 0 · ∞, as torch has it."""
    # `pow_backward_self` and `pow_backward_exponent` in torch/csrc/autograd/FunctionsManual.cpp.
    base = _where(pointwise("eq", p, 0.0), 0.0, g * (p * pointwise("pow", a, p - 1.0)))
    flat = pointwise("mul", pointwise("eq", a, 0.0), pointwise("ge", p, 0.0))
    return base, _where(flat, 0.0, g * (y * pointwise("log", a)))


def _inside(a: Node, low: Node, high: Node) -> Node:
    # Both bounds included, as in torch's clamp_backward.
    return pointwise("mul", pointwise("ge", a, low), pointwise("le", a, high))


_SIXTH = 0.16666667163372040
"""1/6 as `hardsigmoid_backward_kernel` of torch's ATen/native/cpu/Activation.cpp has it."""


def _strictly_inside(a: Node, low: float, high: float) -> Node:
    return pointwise("mul", pointwise("gt", a, low), pointwise("lt", a, high))


def _clamped(node: Node, text: str, low: str, high: str) -> str:
    """A bound that is not there is infinite: nothing is written for it."""
    for bound, name, limit in ((node.args[1], "maximum", low), (node.args[2], "minimum", high)):
        if not (bound.op == "constant" and math.isinf(bound.values[0])):
            text = f"{name}({text}, {limit})"
    return text


def _comparison(sign: str, function: Callable[[Any, Any], Any], *examples: str) -> Operation:
    """Truths are 1 and 0, so that they can be factors."""
    cpp = f"select({{0}} {sign} {{1}}, splat<T>(1), splat<T>(0))"
    return Operation(function, lambda g, y, a, b: (None, None), examples, infix=sign, cpp=cpp)


# The accuracies are those measured over all floats; the table at the top of `vector_math.h` is the same. Not every row
# has `fold`: of numbers Python raises at 1 / 0, where torch gives infinity.
OPERATIONS: dict[str, Operation] = {
    "add": Operation(
        operator.add,
        lambda g, y, a, b: (g, g),
        ("{0} + {1}", "torch.add({0}, {1}, alpha=0.5)"),
        infix="+",
        fold=operator.add,
        neutral=(0.0, 0.0),
    ),
    "sub": Operation(
        operator.sub,
        lambda g, y, a, b: (g, -g),
        ("{0} - {1}", "1 - {0}", "0.7 * {0} - 0.2"),
        infix="-",
        fold=operator.sub,
        neutral=(None, 0.0),
        aliases=("subtract",),
    ),
    "mul": Operation(
        operator.mul,
        lambda g, y, a, b: (g * b, g * a),
        ("{0} * {1}", "{0}.square()"),
        infix="*",
        fold=operator.mul,
        neutral=(1.0, 1.0),
        aliases=("multiply",),
    ),
    "div": Operation(
        operator.truediv,
        lambda g, y, a, b: (g / b, -(g * y / b)),
        ("{0} / (1.2 + abs({1}))", "{0} / 3", "(1.5 + {0}.abs()).reciprocal()"),
        work=DEAR,
        infix="/",
        neutral=(None, 1.0),
        aliases=("truediv", "true_divide"),
    ),
    "neg": Operation(torch.neg, lambda g, y, a: (-g,), ("-{0}",), cpp="-{0}"),
    "sigmoid": Operation(
        torch.sigmoid,
        # From the result: a gate is kept for its products anyway, its sum would be one row more.
        lambda g, y, a: (g * y * pointwise("sub", 1.0, y),),
        ("torch.sigmoid({0})",),
        work=DEAR,
        aliases=("expit",),
        accuracy=Accuracy(2.5, "x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x))", 1.0),
    ),
    "tanh": Operation(
        torch.tanh,
        lambda g, y, a: (g * pointwise("sub", 1.0, y * y),),
        ("torch.tanh({0})",),
        work=DEAR,
        accuracy=Accuracy(2.65, "std::tanh(x)", 1.0),
    ),
    "relu": Operation(
        torch.relu,
        # 0 at 0, as torch has it.
        lambda g, y, a: (_where(pointwise("gt", y, 0.0), g, 0.0),),
        ("torch.relu({0})",),
        accuracy=Accuracy(0, "x < 0 ? 0 : x"),
    ),
    "exp": Operation(
        torch.exp,
        lambda g, y, a: (g * y,),
        ("torch.exp({0}.clamp(-2.0, 1.5))",),
        work=DEAR,
        accuracy=Accuracy(1.2, "std::exp(x)"),
    ),
    "log": Operation(
        torch.log,
        lambda g, y, a: (g / a,),
        ("torch.log(0.3 + abs({0}))",),
        work=DEAR,
        accuracy=Accuracy(1.2, "std::log(x)"),
    ),
    "softplus": Operation(
        F.softplus,
        lambda g, y, a: (g * pointwise("sigmoid", a),),
        ("F.softplus({0})",),
        work=DEAR,
        # at infinity `exp(-|x|)` of the textbook's form is no help: it is spelled out
        accuracy=Accuracy(3, "std::isinf(x) ? (x > 0 ? x : 0) : (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)))"),
    ),
    "sqrt": Operation(
        torch.sqrt,
        lambda g, y, a: (g * 0.5 / y,),
        ("torch.sqrt(0.2 + {0} * {0})", "(1.0 + abs({0})) ** 0.5"),
        work=DEAR,
        accuracy=Accuracy(0.5001, "std::sqrt(x)"),
    ),
    "rsqrt": Operation(
        torch.rsqrt,
        lambda g, y, a: (g * y * y * y * -0.5,),
        ("torch.rsqrt(0.5 + {0} ** 2)",),
        work=DEAR,
        cpp="splat<T>(1) / sqrt({0})",
    ),
    "hardsigmoid": Operation(
        F.hardsigmoid,
        # 0 at both ends, as torch has it, and with its slope, a float32 in float64 too.
        lambda g, y, a: (_where(_strictly_inside(a, -3.0, 3.0), g * _SIXTH, 0.0),),
        ("F.hardsigmoid({0})",),
        work=4,
        accuracy=Accuracy(1.4, "std::isnan(x) ? x : std::min(std::max(x + 3, 0.0), 6.0) / 6", 1.0),
    ),
    "expm1": Operation(
        torch.expm1,
        lambda g, y, a: (g * (y + 1.0),),
        ("torch.expm1({0}.clamp(-2.0, 1.5))",),
        work=DEAR,
        accuracy=Accuracy(1.7, "std::expm1(x)"),
    ),
    "log1p": Operation(
        torch.log1p,
        lambda g, y, a: (g / (a + 1.0),),
        ("torch.log1p({0}.abs())",),
        work=DEAR,
        accuracy=Accuracy(1.7, "std::log1p(x)"),
    ),
    "erf": Operation(
        torch.erf,
        lambda g, y, a: (g * _gauss(a * a) * (2 / math.sqrt(math.pi)),),
        ("torch.erf({0})",),
        work=DEAR,
        accuracy=Accuracy(2.6, "std::erf(x)", 1.0),
    ),
    "erfc": Operation(
        torch.erfc,
        lambda g, y, a: (g * _gauss(a * a) * (-2 / math.sqrt(math.pi)),),
        ("torch.erfc({0})",),
        work=DEAR,
        accuracy=Accuracy(6.5, "std::erfc(x)", 2.0),
    ),
    "ndtr": Operation(
        torch.special.ndtr,
        lambda g, y, a: (g * _gauss(a * a * 0.5) * math.sqrt(0.5 / math.pi),),
        ("torch.special.ndtr({0})",),
        work=DEAR,
        accuracy=Accuracy(7, "std::erfc(x * -M_SQRT1_2) / 2", 1.0),
    ),
    "sin": Operation(
        torch.sin,
        lambda g, y, a: (g * pointwise("cos", a),),
        ("torch.sin({0})", "torch.sin(3 * {0} - {1})"),
        work=DEAR,
        accuracy=Accuracy(1.6, "std::sin(x)", 1.0),
    ),
    "cos": Operation(
        torch.cos,
        lambda g, y, a: (-(g * pointwise("sin", a)),),
        ("torch.cos({0})", "torch.cos(7 * {0})"),
        work=DEAR,
        accuracy=Accuracy(1.6, "std::cos(x)", 1.0),
    ),
    "pow": Operation(
        torch.pow,
        lambda g, y, a, p: _power(g, y, a, p),
        (
            *("(0.4 + abs({0})) ** 1.7", "(1.5 + {0}.abs()) ** -3", "(0.5 + abs({0})) ** {1}.clamp(-1.5, 1.5)"),
            *("2 ** {0}.clamp(-2.0, 1.5)", "torch.tanh({0}).pow(5)", "{0}.clamp(-1.4, 1.4) ** 3"),
        ),
        work=DEAR,
    ),
    "lerp": Operation(
        torch.lerp,
        lambda g, y, a, b, weight: (g * pointwise("sub", 1.0, weight), g * weight, g * (b - a)),
        ("torch.lerp({0}, {1}, 0.3)", "{0}.lerp({1}, torch.sigmoid({0}))", "{0}.lerp(1 - {1}, 0.8)"),
        work=5,
    ),
    "remainder": Operation(
        torch.remainder,
        lambda g, y, a, b: (g, -(g * ((a - y) / b))),
        ("torch.remainder({0}, 0.7)", "({0} % (1.5 + abs({1}))) / 2"),
        work=DEAR,
        aliases=("mod",),
    ),
    "abs": Operation(torch.abs, lambda g, y, a: (g * _sign(a),), ("{0}.abs()",), accuracy=Accuracy(0, "std::fabs(x)")),
    "minimum": Operation(
        _broadcast(torch.minimum),
        lambda g, y, a, b: _extremum(g, a, b, "lt"),
        ("torch.minimum({0}, {1})",),
    ),
    "maximum": Operation(
        _broadcast(torch.maximum),
        lambda g, y, a, b: _extremum(g, a, b, "gt"),
        ("torch.maximum({0}, {1})",),
    ),
    "clamp": Operation(
        torch.clamp,
        lambda g, y, a, low, high: (_where(_inside(a, low, high), g, 0.0), None, None),
        ("{0}.clamp(-0.7, 0.9)", "torch.clamp({0}, max=0.8)"),
        cpp=_clamped,
    ),
    "where": Operation(
        _select,
        lambda g, y, c, a, b: (None, _where(c, g, 0.0), _where(c, 0.0, g)),
        ("torch.where({0} > {1}, {0} * 0.5, {1})", "torch.where({0} <= 0.13, {1}, {0} * 0.4)"),
        cpp="select({0} != splat<T>(0), {1}, {2})",
    ),
    "detach": Operation(torch.detach, lambda g, y, a: (None,), ("{0}.detach() * {1} + 0.3 * {0}",), cpp="{0}"),
    "lt": _comparison("<", operator.lt, "({0} < {1}) * {0} + {1}"),
    "le": _comparison("<=", operator.le),
    "gt": _comparison(">", operator.gt),
    "ge": _comparison(">=", operator.ge),
    "eq": _comparison("==", operator.eq),
    "ne": _comparison("!=", operator.ne),
}


def _to_the_extreme(g: Node, y: Node, a: Node) -> tuple[Node]:
    """In equal parts to all units that have it, as torch's `amax` and `amin` do."""
    hit = pointwise("eq", a, y)
    # A row with NaN has no hit, and torch's gradient there is NaN: 0 / 0.
    return (g * hit / row_sum(hit),)


TOTALS: dict[str, Operation] = {
    "row_sum": Operation(lambda row: row.sum(-1, keepdim=True), lambda g, y, a: (g,)),
    "row_max": Operation(lambda row: row.amax(-1, keepdim=True), _to_the_extreme),
    "row_min": Operation(lambda row: row.amin(-1, keepdim=True), _to_the_extreme),
}
"""What makes one number of a row, and needs all of it: not unit by unit, so a step is cut into passes there."""

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
"""What gives truth values."""
