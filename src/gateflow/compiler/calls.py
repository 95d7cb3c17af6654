"""What a step may call, and the node that each call becomes.

Most operations are called by their name, as functions of torch, functions of `operator` and methods of tensors: these
follow from `operations.py`. Here stands what has arguments of its own, or is made of other operations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.compiler.compositions import COMPOSITIONS
from gateflow.compiler.node import SCALARS, Node, constant, in_order, pointwise
from gateflow.compiler.operations import COMPARISONS, OPERATIONS
from gateflow.compiler.rows import NAMES as ROW_NAMES

__all__ = ["DROPOUTS", "FUNCTIONS", "METHODS", "SUPPORTED"]

Lowering = Callable[..., Node | None]
"""From the arguments of a call to its node; none where these arguments are not known."""


def _op(name: str) -> Lowering:
    return lambda *args: pointwise(name, *args)


def _scaled(name: str) -> Callable[..., Node]:
    """`add` and `sub` of torch, which take `alpha=`."""
    # `alpha=1` leaves nothing in the graph, so `torch.add(a, b)` and `a + b` share one kernel.
    return lambda a, b, *, alpha=1.0: pointwise(name, a, b if _is_one(alpha) else pointwise("mul", b, alpha))


def _sum(a: Any, b: Any, *, alpha: Any = 1.0) -> Node | None:
    """Two truths have no sum: torch takes it for `or`."""
    # In a kernel truths are 1 and 0, so their sum would be 2 (`test_what_is_not_known_is_refused_with_its_line`).
    return None if _is_truth(a) and _is_truth(b) else _scaled("add")(a, b, alpha=alpha)


def _is_truth(node: Any) -> bool:
    """Whether a node is a truth value: a comparison, or made of nothing else."""
    # Each node once: a row squared 40 times has 40 nodes and 2⁴⁰ paths (`test_a_row_may_be_squared_again_and_again`).
    truths: dict[Node, bool] = {}
    for each in in_order([node]) if isinstance(node, Node) else []:
        truths[each] = each.op in COMPARISONS or (each.op in _OF_TRUTHS and all(truths[a] for a in each.args))
    return truths.get(node, False)


_OF_TRUTHS = frozenset({"mul", "minimum", "maximum", "where", "detach", "slice", "cat", "row_max", "row_min"})
"""What makes truths of truths."""


def _is_one(number: Any) -> bool:
    return number == 1.0 or (isinstance(number, Node) and number.values == (1.0,))


def _square(a: Node) -> Node:
    return pointwise("mul", a, a)


def _power(a: Any, exponent: Any) -> Node:
    """Small powers are products and roots, which take a twentieth of the time."""
    # Such an exponent chooses the operation, so it is a part of the graph; others are arguments of the kernel.
    match _value(exponent):
        case 1.0:
            return a
        case 2.0:
            return _square(a)
        case 3.0:
            return pointwise("mul", _square(a), a)
        case 4.0:
            return _square(_square(a))
        case 0.5:
            return pointwise("sqrt", a)
        case -0.5:
            return pointwise("rsqrt", a)
        case -1.0:
            return pointwise("div", 1.0, a)
        case _:
            return pointwise("pow", a, exponent)


def _clamp(a: Node, min: Any = None, max: Any = None) -> Node | None:
    low, high = _bound(min, -math.inf), _bound(max, math.inf)
    # torch raises here, so the step is left to the loop, which raises too.
    if min is None and max is None:
        return None
    return None if low is None or high is None else pointwise("clamp", a, low, high)


def _bound(bound: Any, absent: float) -> Node | None:
    if bound is None:
        return constant(absent)
    # torch gives a bound that is a row a gradient; the derivative of `clamp` in `operations.py` has none for bounds.
    return bound if isinstance(bound, Node) and bound.op in SCALARS else None


def _dropout(a: Node, p: Any = None, training: Any = True, inplace: Any = False, *, train: Any = True) -> Node | None:
    """Nothing where nothing is dropped; else `_Lowering._dropped` of `capture.py`, which notes the mask."""
    none = isinstance(p, Node) and p.values == (0.0,)
    # `torch.dropout` calls it `train`.
    return a if (training is False or train is False or none) and inplace is False else None


def _softplus(a: Node, beta: Any = 1.0, threshold: Any = None) -> Node | None:
    # Where `beta * a` is above torch's threshold of 20, softplus and its argument are 2e-9 apart.
    if threshold not in (None, 20.0) and _value(threshold) != 20.0:
        return None
    return pointwise("softplus", a) if _is_one(beta) else pointwise("softplus", pointwise("mul", a, beta)) / beta


def _value(node: Any) -> float | None:
    return node.values[0] if isinstance(node, Node) and node.op == "constant" else None


def _activation(name: str) -> Lowering:
    """One that takes `inplace=`."""
    # A graph has values and no order: other uses of `a` would have to see the change.
    return lambda a, inplace=False: None if inplace else pointwise(name, a)


def _filled(like: Node, value: float) -> Node | None:
    # By its name: a number that has the dtype of a row, see `has_narrow_rows` of `compiled_cell.py`. Of truths torch
    # makes truths.
    return None if _is_truth(like) else Node("constant", width=like.width, name="like", values=(value,))


_SPECIAL: dict[str, Lowering] = {
    "add": _sum,
    "sub": _scaled("sub"),
    "subtract": _scaled("sub"),
    "relu": _activation("relu"),
    "hardsigmoid": _activation("hardsigmoid"),
    "clamp": _clamp,
    "clip": _clamp,
    "softplus": _softplus,
    "square": _square,
    "pow": _power,
    "reciprocal": lambda a: pointwise("div", 1.0, a),
    "where": lambda condition, a, b: pointwise("where", condition, a, b),
    "lerp": lambda a, end, weight: pointwise("lerp", a, end, weight),
    "isnan": lambda a: pointwise("ne", a, a),
    "zeros_like": lambda a: _filled(a, 0.0),
    "ones_like": lambda a: _filled(a, 1.0),
    "rsub": lambda a, b: pointwise("sub", b, a),
    "dropout": _dropout,
}
"""By the name of the function in torch; the others are called with rows and numbers alone."""


def _named() -> Iterator[tuple[str, Lowering]]:
    """Every name by which torch or Python calls something that is known."""
    for op, operation in OPERATIONS.items():
        for name in (op, *operation.aliases):
            yield name, _op(op)
    for name, composition in COMPOSITIONS.items():
        yield name, composition.lower
    yield from _SPECIAL.items()


_BY_NAME = dict(_named())
_MODULES: tuple[Any, ...] = (torch, torch.special, F, operator)

FUNCTIONS: Mapping[Any, Lowering] = {
    getattr(module, name): lower for module in _MODULES for name, lower in _BY_NAME.items() if hasattr(module, name)
} | {
    # of Python's operators these take two rows, whatever else torch's functions of the same name take
    operator.sub: _op("sub"),
    operator.pos: lambda a: a,
}

DROPOUTS = frozenset({F.dropout, torch.dropout})
"""Those that draw a mask at each step, where something is dropped."""

METHODS: Mapping[Any, Lowering] = {name: lower for name, lower in _BY_NAME.items() if hasattr(Tensor, name)} | {
    "where": lambda a, condition, b: pointwise("where", condition, a, b),  # `a.where(condition, b)`
}


def _supported() -> dict[str, tuple[str, ...]]:
    unit_by_unit = [name for name, o in OPERATIONS.items() if not o.infix and name != "neg"]
    own = {name for name in _SPECIAL if not name.startswith("r") or name == "reciprocal"} - {*OPERATIONS, *ROW_NAMES}
    return {
        "operators": (*(o.infix for o in OPERATIONS.values() if o.infix), "%", "**", "@"),
        "unit by unit": tuple(dict.fromkeys([*unit_by_unit, *COMPOSITIONS, *sorted(own)])),
        "of whole rows (dim=-1, keepdim=True)": ROW_NAMES,
        "of the cell": ("gates", "inputs", "matrices", "diagonals", "norms", "x", "dt", "products with weights"),
    }


SUPPORTED = _supported()
"""What a step may call, by kinds; `gateflow explain --operations` lists it."""
