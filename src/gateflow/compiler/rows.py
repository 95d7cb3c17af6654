"""What a step may do with whole rows: parts of them, rows side by side, totals, and what is made of totals.

    x[..., :1]      a slice                    torch.cat((a, b), -1)      one row of two
    softmax(h)      exp(h - max) / sum         h.unflatten(-1, (4, 8))    four groups, each a row of its own

Each function is given the sizes of rows first, then the arguments of the call, and returns a node, or none where these
arguments are not known.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from gateflow.compiler.node import (
    SCALARS,
    Node,
    Sizes,
    concatenation,
    epsilon,
    index,
    pointwise,
    reduction,
    row_mean,
    row_sum,
    slice_of,
)
from gateflow.compiler.operations import COMPARISONS

__all__ = ["EXAMPLES", "NAMES", "ROWS", "WHOLE", "Groups", "Widths", "normalised"]

MOST_GROUPS = 64
"""Groups of a row are computed one after the other, each by lines of its own in a kernel."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "mean": (
        "{0} - {1}.mean(-1, keepdim=True)",
        "{0} / (1 + abs({0}).mean(-1, keepdim=True))",
        "torch.mean({0} * {1}, -1, keepdim=True) * {1}",
    ),
    "sum": ("{0}.sum(-1, keepdim=True) * 0.1 * {1}",),
    "amax": ("{0} - 0.3 * {1} * {1}.amax(-1, keepdim=True)",),
    "amin": ("{0} * {0}.amin(dim=-1, keepdim=True) + {1}",),
    "max": ("{0} * {0}.max(-1, keepdim=True).values - {1}",),
    "min": ("torch.min({0}, -1, keepdim=True)[0] * {1} + {0}",),
    "softmax": ("torch.softmax({0}, -1) * {1}",),
    "log_softmax": ("{0}.log_softmax(-1) * 0.1",),
    "logsumexp": ("{0} - torch.logsumexp({1}, -1, keepdim=True)",),
    "norm": ("{0} / (0.3 + {0}.norm(dim=-1, keepdim=True))",),
    "vector_norm": ("torch.linalg.vector_norm({0}, ord=1, dim=-1, keepdim=True) * 0.1 * {1}",),
    "normalize": ("F.normalize({0} + 0.1, dim=-1)",),
    "var": ("{0}.var(-1, keepdim=True, correction=0) * {1}",),
    "std": ("{0} / (0.5 + {1}.std(-1, keepdim=True, correction=0))",),
    "rms_norm": ("F.rms_norm({0}, (self.hidden_size,), eps=1e-3)",),
    "layer_norm": ("F.layer_norm({0}, (self.hidden_size,), eps=0.1)",),
    "getitem": ("({0} + {0}[..., :1]) * {1}", "{0} - ({1} + {1}[:, -1:]) * 0.5"),
    "cat": (
        "torch.cat(({0}[..., 1:], {1}[..., :1]), -1) + 0.2 * {1} - 0.1 * {0}",
        "torch.cat([{0}[..., :1].exp() * 0.1, ({0} * {1})[..., 1:]], dim=-1) - 0.2 * {0}",
    ),
    "chunk": ("torch.cat({0}.chunk(2, -1)[::-1], -1)",),
    "split": (
        "torch.cat([{0}.narrow(-1, 0, 1), {1}.split([1, self.hidden_size - 1], -1)[1].tanh()], 1) + 0.3 * {0} * {1}",
    ),
    "unflatten": ("({0}.unflatten(-1, (1, -1)).softmax(-1) * 0.5).flatten(1) * {1}",),
}
"""How a step writes them, for random cells."""


class Widths:
    """The sizes of a cell's rows, and the width that a row of a size has: equal sizes are one width."""

    def __init__(self, hidden_size: int, output_size: int, input_size: int):
        self.sizes = Sizes(H=hidden_size, P=output_size, I=input_size)

    def size(self, node: Node) -> int:
        """How many numbers a row has."""
        return self.sizes[node.width]

    def declared(self, size: int) -> str:
        """The width of a state, a weight or the input."""
        # "01", not "1": a row of width "1" is a number that stands for all units of the rows that it meets.
        return next((w for w in "HPI" if self.sizes[w] == size), str(size) if size != 1 else "01")

    def part(self, size: int) -> str:
        """The width of a part of a row, or of rows side by side."""
        return "1" if size == 1 else self.declared(size)


@dataclass(frozen=True)
class Groups:
    """A row cut into groups of equal size, `[B, G, n]` in the step."""

    rows: tuple[Node, ...]


def _slice(widths: Widths, row: Node, begin: int, end: int) -> Node:
    """Numbers from `begin` to `end`; there may be none of them, as for `h[..., 1:]` of one unit."""
    if begin >= end:
        return Node("constant", width="0", values=(0.0,))
    length, total = end - begin, widths.size(row)
    return row if length == total else slice_of(row, begin, length, total, widths.part(length))


def _cat(widths: Widths, rows: Sequence[Node]) -> Node | None:
    rows = [row for row in rows if not (isinstance(row, Node) and row.width == "0")]
    # A number on its own, `self.scale`, has no place beside rows.
    if not rows or not all(isinstance(row, Node) and (row.op not in SCALARS or row.width != "1") for row in rows):
        return None
    lengths = [widths.size(row) for row in rows]
    return concatenation(rows, lengths, widths.part(sum(lengths)))


def _item(widths: Widths, row: Node, key: Any) -> Node | None:
    """`row[..., a:b]`, `row[:, a:b]`."""
    if not (isinstance(row, Node) and isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], slice)):
        return None
    if not (key[0] is Ellipsis or (isinstance(key[0], slice) and key[0] == slice(None))):
        return None
    bounds = [None if bound is None else _integer(bound) for bound in (key[1].start, key[1].stop, key[1].step)]
    begin, end, step = slice(*bounds).indices(widths.size(row))
    return _slice(widths, row, begin, end) if step == 1 else None


def _narrow(widths: Widths, row: Node, dim: Any, start: Any, length: Any) -> Node | None:
    begin, count, size = _integer(start), _integer(length), widths.size(row)
    begin += size * (begin < 0)
    return _slice(widths, row, begin, begin + count) if _last(dim) and begin >= 0 and begin + count <= size else None


def _chunk(widths: Widths, row: Node, chunks: Any, dim: Any = 0, *, piece: int) -> Node | None:
    # As torch cuts: all pieces are as long as the first, but the last.
    size, count = widths.size(row), _integer(chunks)
    length = -(-size // count)
    whole = _last(dim) and -(-size // length) == count
    return _slice(widths, row, piece * length, min(size, (piece + 1) * length)) if whole else None


def _split(widths: Widths, row: Node, sizes: Any, dim: Any = 0, *, piece: int, **options: Any) -> Node | None:
    lengths = [_integer(length) for length in options.get("split_size_or_sections", sizes)]
    if not _last(dim) or sum(lengths) != widths.size(row) or min(lengths) < 0:
        return None
    return _slice(widths, row, sum(lengths[:piece]), sum(lengths[: piece + 1]))


def _concatenated(widths: Widths, tensors: Any, dim: Any = 0) -> Node | None:
    return _cat(widths, tensors) if _last(dim) and isinstance(tensors, tuple | list) else None


def _unflatten(widths: Widths, row: Node, dim: Any, sizes: Any) -> Groups | None:
    if not (isinstance(row, Node) and isinstance(sizes, tuple | list) and len(sizes) == 2 and _last(dim)):
        return None
    return _grouped(widths, row, *map(_integer, sizes))


def _grouped(widths: Widths, row: Node, count: int, length: int) -> Groups | None:
    size = widths.size(row)
    count, length = (size // length if count == -1 else count), (size // count if length == -1 else length)
    if count * length != size or not 0 < count <= MOST_GROUPS:
        return None
    return Groups(tuple(_slice(widths, row, k * length, (k + 1) * length) for k in range(count)))


def _flatten(widths: Widths, groups: Any, start_dim: Any = 0, end_dim: Any = -1) -> Node | None:
    fits = isinstance(groups, Groups) and _integer(start_dim) in (1, -2) and _integer(end_dim) in (-1, 2)
    return _cat(widths, groups.rows) if fits else None


def _viewed(widths: Widths, row: Any, *sizes: Any) -> Node | Groups | None:
    """`row.view(-1, G, n)` and back, `groups.view(-1, G * n)`; how many samples there are is not known here."""
    given = [_integer(n) for n in (sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes)]
    if isinstance(row, Groups):
        flat = _cat(widths, row.rows)
        return flat if flat is not None and given == [-1, widths.size(flat)] else None
    return _grouped(widths, row, *given[1:]) if len(given) == 3 and given[0] == -1 and -1 not in given[1:] else None


def _total(op: str) -> Callable[..., Node | None]:
    """`sum`, `amax`, `amin`, and so on, over a row."""

    def lowered(widths: Widths, row: Node, dim: Any = None, keepdim: Any = False) -> Node | None:
        return reduction(op, row) if _along(row, dim, keepdim) else None

    return lowered


def _is_row(row: Any) -> bool:
    """Whether a node is a row; a truth would be summed as an integer."""
    return isinstance(row, Node) and row.op not in (*SCALARS, *COMPARISONS) and row.width != "0"


def _along(row: Any, dim: Any, keepdim: Any) -> bool:
    """Whether a call makes one number for each row."""
    # Without `keepdim` torch gives `[B]`, which it lines up with the units of a row, not with the samples.
    return _is_row(row) and _last(dim) and keepdim is True


def _mean(widths: Widths, row: Node, dim: Any = None, keepdim: Any = False) -> Node | None:
    return row_mean(row) if _along(row, dim, keepdim) else None


def _extreme(op: str) -> Callable[..., Node | None]:
    """The values of `max` and `min` over a dimension, whose gradient goes to the first unit that has it."""

    def lowered(
        widths: Widths, row: Node, dim: Any = None, keepdim: Any = False, piece: int | None = None
    ) -> Node | None:
        if piece is None:  # of two rows
            return pointwise(f"{op.removeprefix('row_')}imum", row, dim) if isinstance(dim, Node) else None
        if not _along(row, dim, keepdim) or row.width == "1":
            return row if _along(row, dim, keepdim) else None
        found = _detached(reduction(op, row))
        places = index(row.width)
        # NaN is equal to nothing: where it is what was found, the first unit that is NaN has it.
        has = pointwise("where", pointwise("ne", found, found), pointwise("ne", row, row), pointwise("eq", row, found))
        first = reduction("row_min", pointwise("where", has, places, math.inf))
        return row_sum(pointwise("where", pointwise("eq", places, first), row, 0.0))

    return lowered


def _detached(node: Node) -> Node:
    return pointwise("detach", node)


def _highest(row: Node) -> Node:
    """What is taken from a row before `exp`, so that nothing overflows: it changes no result, so it has no gradient."""
    found = _detached(reduction("row_max", row))
    # Of infinity a large number: `inf - inf` would be NaN where torch has a number, and so would the gradient of what
    # stands beside infinity, if `exp` of it overflowed.
    infinite = pointwise("eq", pointwise("abs", found), math.inf)
    return pointwise("where", infinite, pointwise("clamp", found, -1e30, 1e30), found)


def _softmax(widths: Widths, row: Node, dim: Any = None, _stacklevel: Any = 3) -> Node | None:
    if not (_is_row(row) and _last(dim)):
        return None
    raised = pointwise("exp", row - _detached(reduction("row_max", row)))
    return raised / row_sum(raised)


def _log_softmax(widths: Widths, row: Node, dim: Any = None, _stacklevel: Any = 3) -> Node | None:
    if not (_is_row(row) and _last(dim)):
        return None
    lowered = row - _detached(reduction("row_max", row))
    return lowered - pointwise("log", row_sum(pointwise("exp", lowered)))


def _logsumexp(widths: Widths, row: Node, dim: Any = None, keepdim: Any = False) -> Node | None:
    if not (_along(row, dim, keepdim)):
        return None
    highest = _highest(row)
    return pointwise("log", row_sum(pointwise("exp", row - highest))) + highest


def _root(square: Node) -> Node:
    """A square root whose derivative at 0 is 0, as torch has it for norms and deviations."""
    nothing = pointwise("eq", square, 0.0)
    return pointwise("where", nothing, 0.0, pointwise("sqrt", pointwise("where", nothing, 1.0, square)))


def _power_norm(row: Node, p: float) -> Node | None:
    if p == 2:
        return _root(row_sum(row * row))
    if p == 1:
        return row_sum(pointwise("abs", row))
    if p != math.inf:
        return None
    sizes = pointwise("abs", row)
    found = _detached(reduction("row_max", sizes))
    # A row with NaN has the gradient 0 in torch, since NaN has no sign; that of `amax` would be NaN.
    nan = pointwise("ne", found, found)
    return pointwise("where", nan, found, reduction("row_max", pointwise("where", nan, 0.0, sizes)))


def _norm(
    widths: Widths, row: Node, p: Any = None, dim: Any = None, keepdim: Any = False, **options: Any
) -> Node | None:
    """`torch.norm`, and by `ord=` `torch.linalg.vector_norm`."""
    order = options.pop("ord", p)
    if not (_along(row, dim, keepdim)) or options or (isinstance(order, str) and order != "fro"):
        return None
    return _power_norm(row, 2.0 if order is None or order == "fro" else _real(order))


def _normalize(widths: Widths, row: Node, p: Any = 2.0, dim: Any = 1, eps: Any = 1e-12) -> Node | None:
    norm = _power_norm(row, _real(p)) if _is_row(row) and _last(dim) else None
    return None if norm is None else row / pointwise("clamp", norm, eps, math.inf)


def _variance(
    widths: Widths, row: Node, dim: Any = None, unbiased: Any = True, keepdim: Any = False, *, correction: Any = None
) -> Node | None:
    # `x.var(-1, keepdim=True)` and `x.var(-1, True, True)`: torch's older form has `unbiased` second.
    if not (_along(row, dim, keepdim) and isinstance(unbiased, bool)):
        return None
    apart, taken = row - row_mean(row), float(unbiased) if correction is None else _real(correction)
    count = widths.size(row) - taken
    return row_sum(apart * apart) / count if count > 0 else None


def _deviation(widths: Widths, row: Node, *args: Any, **options: Any) -> Node | None:
    variance = _variance(widths, row, *args, **options)
    return None if variance is None else _root(variance)


def _rms_norm(widths: Widths, row: Node, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Node | None:
    if not _covers(widths, row, normalized_shape):
        return None
    normed = row * pointwise("rsqrt", row_mean(row * row) + (epsilon() if eps is None else eps))
    return normed if weight is None else normed * weight


def _layer_norm(
    widths: Widths, row: Node, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5
) -> Node | None:
    if not _covers(widths, row, normalized_shape):
        return None
    normed = normalised(row, eps)
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def normalised(row: Node, eps: Node | float) -> Node:
    """A row less its mean, by its deviation: spelled out, so that its derivative need not be."""
    apart = row - row_mean(row)
    return apart * pointwise("rsqrt", row_mean(apart * apart) + eps)


def _covers(widths: Widths, row: Any, shape: Any) -> bool:
    """Whether a norm is over the whole row, and no more."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return _is_row(row) and [_integer(n) for n in sizes] == [widths.size(row)]


def _last(dim: Any) -> bool:
    """Whether a call goes along the row; it has two dimensions, `[B, n]`."""
    only = dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
    return isinstance(only, Node) and only.values in ((-1.0,), (1.0,))


def _integer(value: Any) -> int:
    """A whole number among the arguments, which is a part of what is computed and never an argument of the kernel.

    Raises:
        TypeError: it is none.
    """
    number = _real(value)
    if not math.isfinite(number) or number != int(number):
        raise TypeError(f"{number} is no whole number")
    return int(number)


def _real(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, Node) or value.op != "constant":
        raise TypeError(f"{value!r} is no number")
    return value.values[0]


_BY_NAME: Mapping[str, Callable[..., Node | Groups | None]] = {
    "getitem": _item,
    "narrow": _narrow,
    "chunk": _chunk,
    "split": _split,
    "cat": _concatenated,
    "concat": _concatenated,
    "concatenate": _concatenated,
    "unflatten": _unflatten,
    "flatten": _flatten,
    "view": _viewed,
    "reshape": _viewed,
    "sum": _total("row_sum"),
    "mean": _mean,
    "amax": _total("row_max"),
    "amin": _total("row_min"),
    "max": _extreme("row_max"),
    "min": _extreme("row_min"),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "norm": _norm,
    "vector_norm": _norm,
    "normalize": _normalize,
    "var": _variance,
    "std": _deviation,
    "rms_norm": _rms_norm,
    "layer_norm": _layer_norm,
}
"""By the name of the function or method."""

NAMES = tuple("slices" if name == "getitem" else name for name in _BY_NAME)
"""In the words of messages."""

_MODULES: tuple[Any, ...] = (torch, F, torch.linalg, operator)
ROWS: Mapping[Any, Callable[..., Node | Groups | None]] = dict(_BY_NAME) | {
    getattr(module, name): lower for module in _MODULES for name, lower in _BY_NAME.items() if hasattr(module, name)
}
"""Methods by their names, and functions."""

WHOLE = frozenset({_unflatten, _flatten, _viewed})
"""Those that are given groups as a whole; of all others each group is given its own call."""
