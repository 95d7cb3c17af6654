"""Makes the recording of a cell's `step` into the graph of one time step.

    return u * n + (1 - u) * c      →      add_9 = mul_6 + mul_8

Gates, matrices and norms become products and row means over the cell's weights; what has no place in the graph is
refused with the line of the user's code.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.compiler.calls import DROPOUTS, FUNCTIONS, METHODS
from gateflow.compiler.derived import LINEAR, MATMULS, NAME, Expression, transposed, value_of
from gateflow.compiler.graph import Graph, simplified
from gateflow.compiler.naming import Shape
from gateflow.compiler.node import (
    DROP,
    HOLD,
    SCALARS,
    Node,
    Weight,
    WidthError,
    constant,
    in_order,
    number,
    pointwise,
    product,
    slice_of,
)
from gateflow.compiler.recording import Call, Declared, Piece, Place, Recording, is_number, refusal
from gateflow.compiler.rows import ROWS, WHOLE, Groups, Widths, normalised
from gateflow.compiler.stand_ins import StandIn, WeightStandIn, name_of
from gateflow.errors import UnsupportedStepError

__all__ = ["Captured", "Declarations", "capture", "lower"]

BAKED = frozenset({0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, math.inf, -math.inf})
"""Numbers that a kernel has in its text, since they stand in equations that nobody means to change (`1 - u`), and some
make them shorter. All others are arguments, so that a schedule needs one kernel; one of these becomes an argument as
soon as it is seen to change."""


def capture(cell: Cell, *, zoneout: bool = False) -> Graph:
    """The graph of one step of a cell.

    Args:
        cell: the equations; its weights are not looked at, only their names and shapes.
        zoneout: whether a part `hold` of the old state stays: `new = hold ∘ old + (1 - hold) ∘ new`.

    Raises:
        UnsupportedStepError: an operation that the compiler does not know, named with its file and line.

    Example:
        >>> from gateflow.cells import Elman
        >>> print(capture(Elman(3, 4)))
        def step(x, h):  # Elman
            product_1 = weight_ih[0] @ x + bias_ih[0]
            product_3 = weight_hh[0] @ h + bias_hh[0]
            add_4 = product_1 + product_3
            tanh_5 = tanh(add_4)
            return tanh_5
    """
    declarations = Declarations(cell)
    recording = Recording(cell, declarations.declared, whole=True)
    return lower(recording, declarations, zoneout=zoneout).graph


@dataclass(frozen=True)
class Captured:
    """A graph, which of the recording's numbers are arguments of its kernel, the weights that the step makes, and its
    dropouts: of rows of how many numbers, with which probability."""

    graph: Graph
    lifted: tuple[int, ...]
    derived: Mapping[str, Derived]
    drops: tuple[tuple[int, float], ...]


class Derived(NamedTuple):
    """A weight that a step makes of its weights."""

    expression: Expression
    shape: Shape


class Declarations:
    """What follows from a cell's declarations and sizes alone: its weights as blocks, and how wide its rows are.

    Raises:
        UnsupportedStepError: states or weights of sizes that the compiler has no place for.
    """

    def __init__(self, cell: Cell):
        # Such a cell may give its step other weights than the layer has: doubled ones in
        # `test_a_cell_that_binds_its_weights_itself_is_for_the_loop`.
        for name in ("bind", "over", "_leaves", "__getattr__", "__getattribute__"):
            if getattr(type(cell), name) is not getattr(Cell, name):
                raise refusal(cell, f"a {name} of its own, which decides what a step sees,", None)
        self.hidden_size, sizes, shapes = cell.hidden_size, cell.state_sizes, cell.parameter_shapes()
        for name in cell._parameters.keys() - shapes.keys():
            raise refusal(cell, f"the weight {name!r}, which is declared nowhere (diagonals, matrices),", None)
        self.widths = Widths(cell.hidden_size, cell.output_size, cell.row_size)
        # Where the sizes are equal, the input may meet rows of the state; rows of different widths are refused.
        self.input = self._width(cell.row_size)
        self.states = {name: self._width(size) for name, size in sizes.items()}
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.weights = {name: self._shape(cell, name, shape) for name, shape in shapes.items()}
        self.declared = self._declared(cell)
        self.vectors = {name: self.weights[name][0][1] for name in self.declared.vectors}
        declared = (tuple(each.items()) for each in (self.declared.gates, self.declared.maps))
        rest = (*map(tuple, self.declared[2:]), tuple(self.weights.items()))
        sizes_of_rows = tuple(self.widths.sizes.items())
        self.key = (type(cell).__name__, sizes_of_rows, self.input, tuple(self.states.items()), *declared, *rest)
        """Equal keys and equal recordings are equal graphs."""

    def _width(self, size: int) -> str:
        return self.widths.declared(size)

    def _shape(self, cell: Cell, name: str, shape: Sequence[int]) -> Shape:
        """The shape of a weight in blocks: one for each gate where it is fused over them."""
        G, H, P = len(cell.gates), cell.hidden_size, cell.output_size
        fused = {"weight_ih": (G + len(cell.inputs), cell.input_size), "weight_hh": (G, P)}
        fused |= {"bias_ih": (G + len(cell.inputs), None), "bias_hh": (G, None)}
        if name in fused:
            blocks, columns = fused[name]
            # A fused weight of another shape would be read at wrong places: block k is taken to begin at row k · H.
            if tuple(shape) == ((blocks * H,) if columns is None else (blocks * H, columns)):
                across = () if columns is None else ((1, self._width(columns)),)
                return ((blocks, "H"), *across)
        elif len(shape) in (1, 2) and (len(shape) == 2 or name.removeprefix("weight_") not in cell.matrices):
            return tuple((1, self._width(size)) for size in shape)
        found = f"the weight {name!r} has shape {tuple(shape)}; weights must be vectors or matrices"
        raise refusal(cell, found, None)

    def _declared(self, cell: Cell) -> Declared:
        weights = self.weights
        bias_ih, bias_hh = (name if name in weights else None for name in ("bias_ih", "bias_hh"))
        inner, outer = self._width(cell.output_size), self._width(cell.input_size)
        gates, maps = dict[str, tuple[Weight, Weight]](), dict[str, Weight]()
        for k, name in enumerate(cell.gates):
            halves = Weight("weight_ih", k, "H", outer, bias_ih), Weight("weight_hh", k, "H", inner, bias_hh)
            gates[name] = halves
        for k, name in enumerate(cell.inputs, start=len(cell.gates)):
            maps[name] = Weight("weight_ih", k, "H", outer, bias_ih)
        for name in cell.matrices:
            (_, rows), (_, columns) = weights[f"weight_{name}"]
            maps[name] = Weight(f"weight_{name}", 0, rows, columns)
        others = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *(f"weight_{name}" for name in cell.matrices))
        # Matrices that the step multiplies by itself, `h @ self.weight_w`, are no rows.
        vectors = [name for name, shape in weights.items() if name not in others and len(shape) == 1]
        return Declared(gates, maps, cell.norms, vectors, [*weights])


def lower(recording: Recording, declarations: Declarations, *, zoneout: bool, lifted: Collection[int] = ()) -> Captured:
    """The graph of a whole recording.

    Args:
        recording: a step, written down with its calls.
        declarations: those of its cell.
        zoneout: as `capture` has it.
        lifted: places of numbers that must be arguments, since they have been seen to change.
    """
    # Lowered twice: which numbers are arguments is known only when the nodes that use them are there.
    lowering = _Lowering(recording, declarations)
    used = {id(a) for node in in_order(lowering.outputs) for a in node.args}
    # A number that is no argument of any node was used up on the way, as an exponent is: it is a part of the structure.
    chosen = [k for k, node in enumerate(lowering.numbers) if id(node) in used]
    chosen = tuple(k for k in chosen if k in lifted or recording.numbers[k] not in BAKED)
    if chosen:
        lowering = _Lowering(recording, declarations, chosen)
    outputs = lowering.outputs
    if zoneout:
        outputs = [_held(old, new) for old, new in zip(lowering.states, outputs, strict=True)]
    name = re.sub(r"\W", "_", type(recording.cell).__name__)  # it is written into C++
    return Captured(
        Graph(name, lowering.states, tuple(simplified(outputs))), chosen, lowering.derived, tuple(lowering.drops)
    )


class _Lowering:
    """The nodes for the rows of a recording, those of its numbers, and the outputs."""

    def __init__(self, recording: Recording, declarations: Declarations, lifted: Sequence[int] = ()):
        self.cell, self.lifted, self.numbers, self.widths = recording.cell, lifted, list[Node](), declarations.widths
        self._values, self.shapes = iter(recording.numbers), declarations.shapes
        self.derived, self.drops = dict[str, Derived](), list[tuple[int, float]]()
        self.states = tuple(Node("state", width=width, name=name) for name, width in declarations.states.items())
        vectors = {n: Node("parameter", width=width, name=n) for n, width in declarations.vectors.items()}
        self.rows: list[Any] = [Node("input", width=declarations.input, name="x"), *self.states, *vectors.values()]
        self.norms = {n: (vectors[f"{n}_weight"], vectors[f"{n}_bias"]) for n in declarations.declared.norms}
        # One column meets rows of any size in torch, as a number does.
        self.rows = [self._as_number(row) for row in self.rows]
        for call in recording.calls:
            self.rows.append(self._as_number(self._lowered(call)))
        self.outputs = [
            self._new_state(self.rows[k], old) for k, old in zip(recording.new_states, self.states, strict=True)
        ]

    def _as_number(self, row: Any) -> Any:
        """A row, unless it is one number and meets rows of more."""
        one = isinstance(row, Node) and row.width != "H" and self.widths.size(row) == 1
        return slice_of(row, 0, 1, 1, "1") if one else row

    def _new_state(self, new: Node | Groups, old: Node) -> Node:
        if isinstance(new, Groups) or new.width not in (old.width, "1"):
            raise self._refusal(f"a new {old.name} of another size than the old one", None)
        return new

    def _lowered(self, call: Call) -> Node | Groups:
        """The node for one call."""
        args = [self._node(a) for a in call.args]
        # Functions of torch pass on what was not given.
        options = {n: self._node(v) for n, v in call.options.items() if v is not None or n not in ("out", "dtype")}
        if isinstance(call.target, Weight):
            operand = self._whole(args[0], call.target)
            self._check_width(operand, call.target.columns, call.place)
            return product(operand, call.target)
        if isinstance(call.target, tuple) and not isinstance(call.target, Piece):
            return self._normalised(args[0], call)
        if any(isinstance(a, WeightStandIn) for a in (*args, *options.values())):
            return self._product(call, args, options)
        try:
            node = self._called(call.target, args, options)
        except WidthError as error:
            raise self._refusal(f"`{name_of(call.target)}` of rows of different sizes", call.place) from error
        # The lowering of this function does not know an argument (`out=`, `dim=`), misses one, or cannot compute with
        # it; torch can, or the cell would not have been made.
        except (TypeError, LookupError, ArithmeticError, ValueError) as error:
            raise self._refusal(f"`{name_of(call.target)}` with these arguments", call.place) from error
        node = self._dropped(*args, **options) if node is None and call.target in DROPOUTS else node
        if node is None:
            along = " other than along a row (dim=-1, keepdim=True)" if call.target in ROWS else ""
            raise self._refusal(f"`{name_of(call.target)}`{along}", call.place)
        if isinstance(node, Node) and not all(isinstance(a, Node) for a in node.args):
            raise self._refusal(f"`{name_of(call.target)}` with these arguments", call.place)
        return node

    def _dropped(self, row: Any, p: Any = None, training: Any = True, inplace: Any = False, **_: Any) -> Node | None:
        """A row times a mask that is drawn anew at each step: before the loop, by torch, as the loop would."""
        chance = p.values[0] if isinstance(p, Node) and p.op == "constant" else None
        if chance is None or not 0 < chance < 1 or inplace or not isinstance(row, Node) or row.width == "1":
            return None
        # Of weights alone torch draws one mask for all samples.
        if not any(each.op in ("input", "state") or each.name == "like" for each in in_order([row])):
            return None
        self.drops.append((self.widths.size(row), chance))
        return row * Node("input", width=row.width, name=DROP.format(len(self.drops) - 1))

    def _product(self, call: Call, args: Sequence[Any], options: Mapping[str, Any]) -> Node:
        """A row times a matrix that is a weight, or made of weights."""
        refused = self._refusal("a weight that is used otherwise than by its gate, `@` or F.linear", call.place)
        linear = call.target is LINEAR and 2 <= len(args) + len(options) <= 3
        if not linear and not (call.target in MATMULS and len(args) == 2 and not options):
            raise refused
        row, matrix, *rest = args
        bias = next(iter(rest or options.values()), None)
        if not isinstance(row, Node) or not isinstance(matrix, WeightStandIn) or isinstance(bias, WeightStandIn):
            raise refused
        expression = matrix.expression if linear else transposed(matrix.expression)
        weight = self._derived(expression, call.place)
        operand = self._whole(row, weight)
        self._check_width(operand, weight.columns, call.place)
        return product(operand, weight) if bias is None else product(operand, weight) + bias

    def _derived(self, expression: Expression, place: Place | None) -> Weight:
        name = next((n for n, made in self.derived.items() if made.expression == expression), None)
        if name is None:
            own = {n: torch.empty(shape, device="meta") for n, shape in self.shapes.items()}
            found = value_of(expression, own)
            if not isinstance(found, Tensor) or found.dim() != 2 or not found.is_floating_point():
                raise self._refusal("a product with what is no matrix", place)
            taken = {*self.shapes, *self.derived}
            name = next(n for k in itertools.count() if (n := NAME.format(k)) not in taken)
            shape = tuple((1, self.widths.declared(size)) for size in found.shape)
            self.derived[name] = Derived(expression, shape)
        (_, rows), (_, columns) = self.derived[name].shape
        return Weight(name, 0, rows, columns)

    def _whole(self, row: Any, weight: Weight) -> Any:
        """What a product reads: of a number the row of one column that it is."""
        if not isinstance(row, Node) or row.width != "1" or self.widths.sizes[weight.columns] != 1:
            return row
        if row.op != "slice":
            return row + Node("constant", width=weight.columns, values=(0.0,))
        return row.args[0] if row.values == (0, 1, 1) else replace(row, width=weight.columns)

    def _called(self, target: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Node | Groups | None:
        """What a function or method gives, by the tables of what is known; none where they have nothing."""
        groups = next((a for a in args if isinstance(a, Groups)), None)
        if isinstance(target, Piece):
            lower_one = functools.partial(ROWS[target.function], self.widths, piece=target.k)
        elif target in ROWS:
            lower_one, whole = functools.partial(ROWS[target], self.widths), ROWS[target] in WHOLE
            groups = None if whole else groups
        else:
            lower_one = (METHODS if isinstance(target, str) else FUNCTIONS).get(target)
        if groups is None or lower_one is None:
            return lower_one and lower_one(*args, **options)
        # Each group is a row of its own; what meets it are groups as many, or numbers.
        others = [a for a in args if isinstance(a, Node) and a.op not in (*SCALARS, "parameter")]
        if others or any(isinstance(a, Groups) and len(a.rows) != len(groups.rows) for a in args):
            return None
        each = [[a.rows[k] if isinstance(a, Groups) else a for a in args] for k in range(len(groups.rows))]
        rows = [lower_one(*own, **options) for own in each]
        nodes = [row for row in rows if isinstance(row, Node)]
        return Groups(tuple(nodes)) if len(nodes) == len(rows) else None

    def _node(self, value: Any) -> Any:
        if type(value) is StandIn:
            return self.rows[value.index]
        if isinstance(value, tuple | list):
            return [self._node(part) for part in value] if isinstance(value, list) else tuple(map(self._node, value))
        if isinstance(value, slice):
            return slice(*(self._node(bound) for bound in (value.start, value.stop, value.step)))
        if is_number(value):
            # Relies on `_lowered` walking through arguments, then options, as `Recording.call` does.
            k, given = len(self.numbers), next(self._values)
            self.numbers.append(number(self.lifted.index(k)) if k in self.lifted else constant(given))
            return self.numbers[-1]
        return value

    def _normalised(self, row: Any, call: Call) -> Node:
        """A layer norm of the cell's."""
        self._check_width(row, "H", call.place)
        weight, bias = self.norms[call.target[1]]
        # 1e-5 is the epsilon of `torch.nn.LayerNorm`, which `cells.cell` uses as well.
        return normalised(row, 1e-5) * weight + bias

    def _check_width(self, operand: Any, width: str, place: Place | None) -> None:
        if not isinstance(operand, Node) or operand.width != width:
            raise self._refusal("a product with what is not a row of the weight's size", place)

    def _refusal(self, found: str, place: Place | None) -> UnsupportedStepError:
        return refusal(self.cell, found, place)


def _held(old: Node, new: Node) -> Node:
    hold = Node("input", width=old.width, name=HOLD.format(old.name))
    # Term for term as `_mix` of `recurrence/reference.py`, which judges it.
    return hold * old + pointwise("sub", 1.0, hold) * new
