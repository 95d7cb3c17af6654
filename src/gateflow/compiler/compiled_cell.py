"""A captured step with its sizes, which is all that a back end is told of a cell; and its name, the same everywhere.

A kernel belongs to what a step computes, and to nothing else: cells of two classes whose steps compute the same share
one, and a cell whose step now computes something else has another. `look.py` finds which it is now.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.compiler.derived import Expression, value_of
from gateflow.compiler.graph import Graph
from gateflow.compiler.naming import Shape, graph_and_weights, text_of
from gateflow.compiler.node import DROP, HOLD, SCALARS, Node, Sizes
from gateflow.compiler.once import lock, once
from gateflow.compiler.operations import COMPARISONS
from gateflow.compiler.plan import Costs
from gateflow.compiler.programs import Programs
from gateflow.compiler.storage import Storage
from gateflow.errors import ArtifactError, ShapeError

__all__ = ["CompiledCell", "Step", "compiled", "is_name", "step_named"]

KEPT = 256
"""Shapes of runs that are remembered at most, of each cell."""

# Re-entrant: `look.py` holds it while it captures, and `compiled` takes it again.
_cells: dict[str, CompiledCell] = {}
# By the text alone, without the size: all sizes share one derivative and one set of plans.
_storages: dict[str, Storage] = {}


@dataclass(frozen=True, eq=False)
class CompiledCell:
    """What a step computes, and of how many units: all that a run needs besides its tensors.

    Attributes:
        graph: the step.
        hidden_size: units.
        weights: their shapes, in the order in which a run is given them.
        text: the step and its weights as one line; equal texts are equal kernels, for any number of units.
        storage: which of the step's values lie in memory, and where.
    """

    graph: Graph
    hidden_size: int
    weights: Mapping[str, Shape]
    text: str
    storage: Storage

    def programs(self, costs: Costs) -> Programs:
        """The plans of the loops for a back end with these costs."""
        # Per storage, not per cell: cells of other sizes find the plans that are made.
        return _programs(self.storage, costs)

    @property
    def numbers(self) -> int:
        """How many numbers a run is given."""
        return self.storage.numbers

    @once
    def has_narrow_rows(self) -> bool:
        """Whether a row is made of truth values and numbers alone, and is neither."""
        # torch gives such rows its default dtype, also in a float64 layer; the loop is then right
        # (`test_truth_values_with_numbers_are_rounded_as_torch_does`).
        truths, narrow = set[Node](), set[Node]()
        for node in self.graph.nodes:
            rows = [a for a in node.args if not _is_number(a)]
            if node.op in COMPARISONS:
                truths.add(node)
            elif node.op == "where" and all(map(_is_number, node.args[1:])):
                narrow.add(node)
            elif rows and all(a in truths or a in narrow for a in rows):
                # torch keeps truths under these operations; all others make numbers of the default dtype from them.
                kept = node.op in ("mul", "minimum", "maximum", "where") and all(a in truths for a in node.args)
                (truths if kept else narrow).add(node)
        return bool(narrow)

    def fitting(
        self, shapes: tuple[torch.Size, ...], weights: Mapping[str, Tensor], states: Sequence[Tensor]
    ) -> dict[str, int]:
        """What the widths of rows are in a run whose input, weights and states have these shapes.

        Raises:
            ShapeError: they do not fit each other.
        """
        # Runs come again with the same shapes, and most of a short one is Python's.
        known = self._sizes
        if shapes not in known:
            # 0 where no part of the state is projected; else the states below say how much.
            sizes = Sizes(P=0, H=self.hidden_size, I=shapes[0][1])
            for node, state in zip(self.graph.states, states, strict=True):
                # A width in digits is its own size, which is compared below.
                if not node.width.isdecimal():
                    sizes[node.width] = state.shape[1]
            self._refuse_others(weights, states, sizes)
            if len(known) >= KEPT:
                known.clear()
            known[shapes] = sizes
        return known[shapes]

    @once
    def _sizes(self) -> dict[tuple[torch.Size, ...], dict[str, int]]:
        return {}

    def _refuse_others(self, weights: Mapping[str, Tensor], states: Sequence[Tensor], sizes: Mapping[str, int]) -> None:
        # Kernels are given bare addresses: what has another shape was once read beyond its end.
        of_input, of_states = self._widths
        found = [state.shape[1] for state in states]
        if found != [sizes[width] for width in of_states] or sizes["H"] != self.hidden_size:
            raise ShapeError(f"the states of {self.graph.cell}, of {self.hidden_size} units, have sizes {found}")
        if sizes[of_input] != sizes["I"]:
            raise ShapeError(f"{self.graph.cell} needs an input of size {sizes[of_input]}, found {sizes['I']}")
        for width, size in self._fixed:
            if sizes[width] != size:
                raise ShapeError(f"{self.graph.cell} cuts rows of {size} numbers, found {sizes[width]}")
        wanted = self._shapes(sizes["H"], sizes["P"], sizes["I"])
        if [w.shape for w in weights.values()] != wanted:
            found = ", ".join(f"{name} {list(w.shape)}" for name, w in weights.items())
            needed = ", ".join(f"{name} {list(shape)}" for name, shape in zip(self.weights, wanted, strict=True))
            raise ShapeError(f"weights of {self.graph.cell} must have the shapes {needed}; found {found}")

    @once
    def line_inputs(self) -> tuple[str, ...]:
        """Names of what a run is given for each line besides the input: what zoneout keeps, and masks of dropout."""
        names = [n.name for n in self.graph.nodes if n.op == "input" and n.name != "x"]
        holds = [name for state in self.graph.states if (name := HOLD.format(state.name)) in names]
        # A state may be called "drop_0", its hold "hold_drop_0".
        return (*holds, *sorted(set(names) - set(holds), key=lambda name: int(name.removeprefix(DROP.format("")))))

    @once
    def _widths(self) -> tuple[str, list[str]]:
        """The width of the input, and of each part of the state."""
        x = next((n.width for n in self.graph.nodes if n.op == "input" and n.name == "x"), "I")
        return x, [state.width for state in self.graph.states]

    @once
    def _fixed(self) -> tuple[tuple[str, int], ...]:
        """Sizes that slices and what is put together of rows rely on; most cells have none."""
        fixed = set[tuple[str, int]]()
        for node in self.graph.nodes:
            if node.op == "slice":
                _, length, total = map(int, node.values)
                fixed |= {(node.args[0].width, total), (node.width, length)}
            elif node.op == "cat":
                pairs = zip(node.args, node.values, strict=True)
                fixed |= {(part.width, int(length)) for part, length in pairs if part.width != "1" or length != 1}
                fixed.add((node.width, int(sum(node.values))))
        return tuple(sorted(fixed))

    @functools.lru_cache(maxsize=64)  # noqa: B019  (compiled cells live as long as the process)
    def _shapes(self, *widths: int) -> list[torch.Size]:
        sizes = Sizes(zip("HPI", widths, strict=True))
        return [torch.Size(blocks * sizes[width] for blocks, width in shape) for shape in self.weights.values()]


def _is_number(node: Node) -> bool:
    """Whether torch sees a number there; `ones_like(row)` is a row and has its dtype."""
    return node.op in SCALARS and node.width == "1" and node.name != "like"


class Step(NamedTuple):
    """A captured step with the numbers that it reads now."""

    cell: CompiledCell
    numbers: tuple[float, ...] = ()
    derived: tuple[Expression, ...] = ()
    drops: tuple[tuple[int, float], ...] = ()

    @property
    def prepared(self) -> str:
        """What must be made before a run, in words; nothing for most steps."""
        dropout = "dropout within a step" if self.drops else ""
        return "a step that makes weights of others" if self.derived else dropout

    def masks(self, like: Tensor) -> dict[str, Tensor]:
        """What the step's dropouts multiply by, `[T, B, size]` for input such as `like [T, B, I]`, by the names of
        their inputs: drawn as the loop draws it, step by step, one after the other."""
        drawn = [[F.dropout(like.new_ones(like.shape[1], n), p) for n, p in self.drops] for _ in range(len(like))]
        masks = {DROP.format(k): torch.stack(each) for k, each in enumerate(zip(*drawn, strict=True))}
        # One that no new state depends on is drawn as well, or those after it would not be the loop's.
        return {name: masks[name] for name in self.cell.line_inputs if name in masks}

    def made_of(self, weights: Mapping[str, Tensor]) -> list[Tensor]:
        """The weights that the step makes of a cell's, computed by torch; a run is given them behind the others."""
        return [value_of(expression, weights) for expression in self.derived]

    @property
    def name(self) -> str:
        """What an operator of torch is given: it means the same in every process."""
        # `repr` of a float reads back as the same float, so the name gives the same kernel the same numbers.
        numbers = ",".join(map(repr, self.numbers))
        return f"{self.cell.hidden_size}|{numbers}|{self.cell.text}"


def step_named(name: str) -> Step:
    """The step that has a name.

    Raises:
        ArtifactError: the name is damaged, or of another version of gateflow.
    """
    size, _, rest = name.partition("|")
    numbers, _, text = rest.partition("|")
    try:
        # `int` alone also reads " 4", "1_0" and digits of other scripts: one step would have many names.
        if not (size.isascii() and size.isdecimal() and len(size) < 10):
            raise ValueError(f"{size!r:.40} is no size")  # noqa: TRY301
        hidden_size, given = int(size), tuple(map(float, numbers.split(","))) if numbers else ()
    except ValueError as problem:
        raise ArtifactError(f"the name of an exported cell is damaged: {problem}; export it again") from None
    cell = _cells.get(f"{hidden_size}|{text}")
    if cell is None:
        graph, weights = graph_and_weights(text)
        cell = compiled(graph, hidden_size, weights)
    if len(given) != cell.numbers or hidden_size < 1:
        raise ArtifactError("the name of an exported cell is damaged: its numbers or its size; export it again")
    return Step(cell, given)


def is_name(text: str) -> bool:
    """Whether a text is the name of a step, and not the reason why there is none."""
    # A name begins with the number of units; a reason begins with the name of a class or a word.
    return text[:1].isdigit()


def compiled(graph: Graph, hidden_size: int, weights: Mapping[str, Shape]) -> CompiledCell:
    """The compiled cell of a graph, one for each text and size; all sizes share the rest."""
    text = text_of(graph, weights)
    key = f"{hidden_size}|{text}"
    with lock:
        if key not in _cells:
            storage = _storages.setdefault(text, Storage(graph))
            _cells[key] = CompiledCell(storage.graph, hidden_size, weights, text, storage)
        return _cells[key]


@functools.cache
def _programs(storage: Storage, costs: Costs) -> Programs:
    return Programs(storage, costs)
