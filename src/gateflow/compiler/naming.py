"""A captured step as one line of text, its name for operators of torch: the same step in every process, now and later.

    {"gateflow":1,"cell":"Elman","hidden_size":4,"weights":{…},"nodes":[["input","x","I"],["product",[0],[…]], …], …}

What a program exports names its cells this way, and is loaded elsewhere, so a text that is read is not believed: every
name, width, place and size is checked before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateflow.compiler.graph import Graph
from gateflow.compiler.node import (
    DROP,
    REDUCTIONS,
    SCALARS,
    Node,
    Weight,
    concatenation,
    epsilon,
    in_order,
    index,
    number,
    pointwise,
    product,
    reduction,
    row_mean,
    slice_of,
)
from gateflow.compiler.operations import OPERATIONS
from gateflow.errors import ArtifactError

__all__ = ["Shape", "graph_and_weights", "text_of"]

Shape = tuple[tuple[int, str], ...]
"""The shape of a weight: for each dimension how many blocks of which width, `((4, "H"), (1, "I"))`."""

VERSION = 2
LONGEST = 1 << 22
"""Characters of a text that is read; a step of a thousand operations has a hundredth of them."""
MOST_BLOCKS = 1 << 16

_WIDTHS = ("H", "P", "I")


def text_of(graph: Graph, weights: Mapping[str, Shape]) -> str:
    """The text of a graph over weights of these shapes, in the order in which an operator is given them."""
    nodes = in_order([_input_of(graph), *graph.states, *graph.new_states])
    places = {node: k for k, node in enumerate(nodes)}
    written = {
        "gateflow": VERSION,
        "cell": graph.cell,
        "weights": weights,
        "nodes": [_written(node, places) for node in nodes],
        "states": [places[s] for s in graph.states],
        "new": [places[n] for n in graph.new_states],
    }
    # One spelling only: the text is the key of a kernel, also in the caches of compiled graphs.
    return json.dumps(written, separators=(",", ":"))


def graph_and_weights(text: str) -> tuple[Graph, dict[str, Shape]]:
    """What `text_of` has written.

    Raises:
        ArtifactError: the text is none of ours, of another version, or does not hold together.
    """
    if len(text) > LONGEST:
        raise ArtifactError(f"the name of a cell has {len(text)} characters, more than {LONGEST}")
    try:
        read = json.loads(text)
        version = read["gateflow"]
        # In Python `True == 1 == 1.0`: a version of `true` would pass.
        if version in (1, VERSION) and type(version) is int:
            return _Reading(read).result()
    # All that a damaged text can lead to below, deep nesting too (`test_whatever_is_changed_it_is_read_or_refused`).
    except (LookupError, ArithmeticError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise ArtifactError(
            f"the name of a cell in an exported program is damaged or none of gateflow's: {type(problem).__name__} "
            f"{problem}; export it again"
        ) from problem
    raise ArtifactError(f"a cell was exported in version {version!r} of its format, this gateflow reads {VERSION}")


def _input_of(graph: Graph) -> Node:
    """The input, even where only weights see it."""
    found = next((n for n in graph.nodes if n.op == "input" and n.name == "x"), None)
    return Node("input", width="I", name="x") if found is None else found


def _written(node: Node, places: Mapping[Node, int]) -> list[Any]:
    args = [places[a] for a in node.args]
    match node.op:
        case "constant":
            return ["constant", node.values[0], *([] if node.width == "1" else [node.width])]
        case "number":
            return ["number", int(node.name.removeprefix("number_"))]
        case "parameter" | "input" | "state":
            return [node.op, node.name, node.width]
        case "size" | "index" | "epsilon":
            return [node.op, node.name if node.op == "size" else node.width]
        case "slice" | "cat":
            return [node.op, args, [int(value) for value in node.values], node.width]
        case "product":
            w = node.weights[0]
            return ["product", args, [w.name, w.block, w.rows, w.columns, w.bias]]
        case _:
            return [node.op, args]


class _Reading:
    """A text that has been parsed and is to become a graph."""

    def __init__(self, read: Mapping[str, Any]):
        self.read, self.nodes = read, list[Node]()
        self.weights = {_name(n): tuple(_dimension(d) for d in shape) for n, shape in read["weights"].items()}

    def result(self) -> tuple[Graph, dict[str, Shape]]:
        for entry in self.read["nodes"]:
            self.nodes.append(self._node(*entry))
        states, new = ([self._at(k) for k in self.read[which]] for which in ("states", "new"))
        _demand(0 < len(states) == len(new) == len({s.name for s in states}), "its states")
        _demand(all(s.op == "state" and s.width != "1" for s in states), "its states")
        holds = [(f"hold_{s.name}", s.width) for s in states]
        # The loop finds these inputs by name: zoneout gives one for each state, dropouts theirs, and nothing others.
        found = {(n.name, n.width) for n in in_order(new) if n.op == "input" and n.name != "x"}
        drops = {name for name, _ in found - {*holds}}
        _demand(all(map(_is_drop, drops)), "its inputs")
        _demand(len(found) - len(drops) in (0, len(holds)) and len({n for n, _ in found}) == len(found), "its inputs")
        _demand({n.name for n in in_order(new) if n.op == "state"} <= {s.name for s in states}, "its states")
        _demand(all(n.width in (s.width, "1") for s, n in zip(states, new, strict=True)), "its new states")
        return Graph(_name(self.read["cell"]), tuple(states), tuple(new)), self.weights

    def _node(self, op: str, *rest: Any) -> Node:
        leaves: dict[str, Callable[..., Node]] = {
            "constant": lambda value, width="1": Node("constant", width=_width(width), values=(_real(value),)),
            "number": lambda k: number(_count(k)),
            "parameter": self._parameter,
            "input": self._input,
            "state": lambda name, width: Node("state", width=_width(width), name=_name(name)),
            "product": self._product,
            "size": self._size,
            "index": lambda width: index(_width(width)),
            "epsilon": lambda _: epsilon(),
            "slice": self._slice,
            "cat": self._cat,
        }
        if op in leaves:
            return leaves[op](*rest)
        (places,) = rest
        args = [self._at(k) for k in places]
        if op == "row_mean":  # of version 1
            _demand(len(args) == 1 and args[0].width == "H", "a mean")
            return row_mean(args[0])
        if op in REDUCTIONS:
            _demand(len(args) == 1 and args[0].width != "1", "a total")
            return reduction(op, args[0])
        _demand(op in OPERATIONS and len(args) == OPERATIONS[op].arity, f"the operation {op!r}")
        _demand(len({a.width for a in args} - {"1"}) <= 1, f"the rows of {op!r}")
        # Only numbers: the table has no gradient for bounds.
        _demand(op != "clamp" or all(a.op in SCALARS for a in args[1:]), "the bounds of a clamp")
        return pointwise(op, *args)

    def _input(self, name: str, width: str) -> Node:
        _demand(name == "x" or name.startswith(("hold_", "drop_")), f"the input {name!r:.80}")
        return Node("input", width=_width(width), name=name)

    def _parameter(self, name: str, width: str) -> Node:
        _demand(self.weights[name] == ((1, _width(width)),) and width != "1", f"the weight {name!r}")
        return Node("parameter", width=width, name=name)

    def _product(self, places: Sequence[int], weight: Sequence[Any]) -> Node:
        name, block, rows, columns, bias = weight
        (operand,) = (self._at(k) for k in places)
        blocks, across = self.weights[name]
        # The loop reads as many numbers as stand here, from bare addresses.
        fits = blocks[1] == rows and _count(block) < blocks[0] and across == (1, columns) and operand.width == columns
        _demand(fits and rows != "1", f"the weight {name!r}")
        _demand(bias is None or self.weights[bias] == (blocks,), f"the bias {bias!r}")
        return product(operand, Weight(name, block, rows, columns, bias))

    def _size(self, width: str) -> Node:
        # A width in digits is its own size, which stands in the text as a number.
        _demand(width in _WIDTHS, "a size")
        return Node("size", width="1", name=width)

    def _slice(self, places: Sequence[int], span: Sequence[Any], width: str) -> Node:
        (row,), (begin, length, total) = (self._at(k) for k in places), map(_length, span)
        # Whether the rows have these sizes is asked before each run (`CompiledCell.check`).
        _demand(row.width != "1" and length > 0 and begin + length <= total, "a slice")
        return slice_of(row, begin, length, total, _width(width))

    def _cat(self, places: Sequence[int], lengths: Sequence[Any], width: str) -> Node:
        rows, sizes = [self._at(k) for k in places], [_length(n) for n in lengths]
        _demand(len(rows) == len(sizes) > 1 and min(sizes) > 0 and _width(width) != "1", "rows side by side")
        return concatenation(rows, sizes, width)

    def _at(self, k: Any) -> Node:
        return self.nodes[_count(k)]


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} cannot be right")


def _name(text: Any) -> str:
    """Names are written into C++."""
    # An identifier cannot end a line or a block of C++ (`EVIL` in `tests/compiler/test_naming.py`).
    _demand(isinstance(text, str) and text.isidentifier() and len(text) < 256, f"the name {text!r:.80}")
    return text


def _is_drop(name: str) -> bool:
    """Whether an input is a dropout's; of those of a step some may be missing, on which no state depends."""
    place = name.removeprefix(DROP.format(""))
    return place.isascii() and place.isdecimal() and len(place) < 8 and name == DROP.format(int(place))


def _width(text: Any) -> str:
    digits = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 8
    _demand(text in _WIDTHS or (digits and text in (str(int(text)), "01")), f"the width {text!r:.80}")
    return text


def _length(value: Any) -> int:
    _demand(type(value) is int and 0 <= value < LONGEST, f"the length {value!r:.80}")
    return value


def _count(value: Any) -> int:
    # `type`, not `isinstance`: `true` is an int as well. Not below 0, where Python counts from the end.
    _demand(type(value) is int and 0 <= value < MOST_BLOCKS, f"the place {value!r:.80}")
    return value


def _real(value: Any) -> float:
    _demand(type(value) in (float, int), f"the number {value!r:.80}")
    return float(value)


def _dimension(pair: Any) -> tuple[int, str]:
    blocks, width = pair
    return _count(blocks), _width(width)
