"""Traces a cell's `step` into the graph of one time step.

    return u * n + (1 - u) * c      →      add_9 = mul_6 + mul_8

The step runs once on stand-ins for its tensors (`torch.fx`). Gates, matrices and norms become products and row means
over the cell's weights; what has no place in the graph is refused with the line of the user's code.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.proxy import GraphAppendingTracer, TraceError

from gateflow.cells import Cell
from gateflow.compiler.graph import Graph, Node, Weight, constant, pointwise, product, row_mean, simplified
from gateflow.compiler.operations import FUNCTIONS, METHODS, SUPPORTED
from gateflow.errors import UnsupportedStepError

__all__ = ["HOLD", "capture"]

HOLD = "hold_{}"
_REFUSED = (TraceError, TypeError, ValueError, AttributeError, RuntimeError, LookupError, NotImplementedError)


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
    return _Capture(cell).graph(zoneout=zoneout)


class _Capture:
    """One tracing of one cell: stand-ins for what `step` sees, and their nodes."""

    def __init__(self, cell: Cell):
        self.cell, self.tracer = cell, _Tracer(fx.Graph())
        self.nodes: dict[fx.Node, Node] = {}

    def graph(self, *, zoneout: bool) -> Graph:
        sizes = self.cell.state_sizes
        if not {*sizes.values()} <= {self.cell.hidden_size, self.cell.output_size}:
            raise self._refusal(f"states of more than two sizes, {sizes},")
        states = tuple(Node("state", width=self._width(size), name=name) for name, size in sizes.items())
        x = Node("input", width=self._input_width(), name="x")
        try:
            stand_ins: list[Any] = [self._proxy(node) for node in (x, *states)]
            new = self._view().advance(stand_ins[0], tuple(stand_ins[1:]))
        except UnsupportedStepError:
            raise
        except _REFUSED as error:
            raise self._refusal(
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error
        for recorded in self.tracer.graph.nodes:
            if recorded not in self.nodes:
                self.nodes[recorded] = self._lowered(recorded)
        outputs = [self._node(value) for value in new]
        if zoneout:
            outputs = [_held(old, value) for old, value in zip(states, outputs, strict=True)]
        return Graph(type(self.cell).__name__, states, tuple(simplified(outputs)))

    def _view(self) -> Cell:
        """The cell with stand-ins in place of its weights and leaves."""
        cell, own = self.cell, self.cell._parameters
        bias_ih, bias_hh = ("bias_ih", "bias_hh") if cell.bias else (None, None)
        inner, outer = self._width(cell.output_size), self._input_width()
        leaves: dict[str, Any] = {}
        for k, name in enumerate(cell.gates):
            halves = Weight("weight_ih", k, "H", outer, bias_ih), Weight("weight_hh", k, "H", inner, bias_hh)
            leaves[name] = _Gate(*(self._map(weight) for weight in halves))
        for k, name in enumerate(cell.inputs, start=len(cell.gates)):
            leaves[name] = self._map(Weight("weight_ih", k, "H", outer, bias_ih))
        for name in cell.matrices:
            rows, columns = (self._width(size) for size in cell.parameter_shapes()[f"weight_{name}"])
            leaves[name] = self._map(Weight(f"weight_{name}", 0, rows, columns))
        fused = {"weight_ih", "weight_hh", "bias_ih", "bias_hh", *(f"weight_{name}" for name in cell.matrices)}
        vectors = {
            n: self._proxy(self._parameter(n, shape)) for n, shape in cell.parameter_shapes().items() if n not in fused
        }
        leaves |= {n: _Norm(self._mean, vectors[f"{n}_weight"], vectors[f"{n}_bias"]) for n in cell.norms}
        view = type(cell).__new__(type(cell))
        vars(view).update({k: v for k, v in vars(cell).items() if k not in own}, _parameters={}, **vectors, **leaves)
        return view

    def _parameter(self, name: str, shape: Sequence[int]) -> Node:
        if len(shape) != 1 or shape[0] not in (self.cell.hidden_size, self.cell.output_size):
            raise self._refusal(f"the weight {name!r} has shape {tuple(shape)}; weights used by themselves must be [H]")
        return Node("parameter", width=self._width(shape[0]), name=name)

    def _width(self, size: int) -> str:
        return "H" if size == self.cell.hidden_size else "P"

    def _input_width(self) -> str:
        return "H" if self.cell.input_size == self.cell.hidden_size else "I"

    def _map(self, weight: Weight) -> Callable[[Any], fx.Proxy]:
        return lambda operand: self._record(product, operand, weight)

    def _mean(self, row: Any) -> fx.Proxy:
        return self._record(row_mean, row)

    def _record(self, build: Callable[..., Node], operand: Any, *details: Any) -> fx.Proxy:
        """A stand-in for a product or a mean of what `step` has computed so far."""
        proxy = self.tracer.create_proxy("call_function", build, (operand,), {})
        proxy.node.meta["details"] = details
        return proxy

    def _proxy(self, node: Node) -> fx.Proxy:
        proxy = self.tracer.create_proxy("placeholder", node.name, (), {})
        self.nodes[proxy.node] = node
        return proxy

    def _lowered(self, recorded: fx.Node) -> Node:
        """The node for one recorded call."""
        args, options = [self._node(a) for a in recorded.args], dict(recorded.kwargs)
        if recorded.target is product:
            self._check_width(args[0], recorded.meta["details"][0].columns, recorded)
            return product(args[0], *recorded.meta["details"])
        if recorded.target is row_mean:
            return self._checked_mean(row_mean(args[0]), recorded)
        table = METHODS if recorded.op == "call_method" else FUNCTIONS
        lower = table.get(recorded.target)  # pyright: ignore[reportArgumentType]
        try:
            node = lower and lower(*args, **{k: self._node(v) for k, v in options.items()})
        except TypeError as error:
            raise self._refusal(f"`{_named(recorded)}` with these arguments", recorded) from error
        if node is None:
            raise self._refusal(f"`{_named(recorded)}`", recorded)
        self._check_widths(node, recorded)
        return self._checked_mean(node, recorded)

    def _check_width(self, operand: Any, width: str, recorded: fx.Node) -> None:
        if not isinstance(operand, Node) or operand.width != width:
            raise self._refusal("a product with what is not a row of the weight's size", recorded)

    def _checked_mean(self, node: Node, recorded: fx.Node) -> Node:
        """Means stand for H units: forward they are divided by H, backward spread over H."""
        if node.op == "row_mean" and node.args[0].width != "H":
            raise self._refusal("a mean over a row that is not of size H", recorded)
        return node

    def _check_widths(self, node: Node, recorded: fx.Node) -> None:
        wide = {a.width for a in node.args} - {"1"}
        if len(wide) > 1:
            raise self._refusal(f"`{_named(recorded)}` of rows of different sizes", recorded)

    def _node(self, value: Any) -> Any:
        if isinstance(value, fx.Proxy):
            value = value.node
        if isinstance(value, fx.Node):
            return self.nodes[value]
        return constant(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    def _refusal(self, found: str, recorded: fx.Node | None = None) -> UnsupportedStepError:
        place: tuple[str, int] | None = recorded.meta.get("place") if recorded is not None else self.tracer.last_place
        where = f"{place[0]}, line {place[1]}: {linecache.getline(place[0], place[1]).strip()}" if place else "its step"
        return UnsupportedStepError(
            f"{type(self.cell).__name__} cannot be compiled: found {found} at {where}. The compiler knows {SUPPORTED}"
        )


class _Tracer(GraphAppendingTracer):
    """Records calls together with the user's line that made them."""

    last_place: tuple[str, int] | None = None

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self.last_place = node.meta["place"] = _users_line()
        return node

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, torch.Tensor):
            raise TypeError("a tensor made outside of the step's arguments")
        return super().create_arg(a)


class _Gate:
    """Stands in for `cells.Gate`."""

    def __init__(self, of_input: Callable[[Any], Any], of_state: Callable[[Any], Any]):
        self.input, self.recurrent = of_input, of_state

    def __call__(self, state: Any, x: Any) -> Any:
        return self.input(x) + self.recurrent(state)


class _Norm:
    """Stands in for a layer norm: spelled out, so that its derivative need not be."""

    def __init__(self, mean: Callable[[Any], Any], weight: Any, bias: Any):
        self.mean, self.weight, self.bias = mean, weight, bias

    def __call__(self, row: Any) -> Any:
        apart = row - self.mean(row)
        return apart * torch.rsqrt(self.mean(apart * apart) + 1e-5) * self.weight + self.bias


def _held(old: Node, new: Node) -> Node:
    hold = Node("input", width=old.width, name=HOLD.format(old.name))
    return hold * old + pointwise("sub", 1.0, hold) * new


def _named(recorded: fx.Node) -> str:
    target = recorded.target
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _users_line() -> tuple[str, int] | None:
    """File and line of the innermost `step` on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "step":
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None
