"""What a kernel knows of the cut of its run when it is built: sizes are constants, and no instruction works them out.

    struct Cut { static constexpr int blocks = 64, …;  static constexpr int share(int width) { … } … };

Another number of units, or a batch that is cut otherwise, is another kernel; another number of steps is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from gateflow.backends.cuda.grid import Grid
from gateflow.compiler.plan import Kind, Pass, Term

__all__ = ["by_place", "definitions", "facts"]


def definitions(grid: Grid) -> str:
    """What the headers are told."""
    given = {
        "WARPS": grid.warps,
        "SAMPLES": grid.samples,
        "WEIGHTS_ARE_SHARED": int(grid.weights_are_shared and grid.weights > 0),
        "MATRIX_UNITS": int(grid.matrix_units),
        "ROUNDED": int(grid.products is not None),
        "FLOAT16": int(grid.products == torch.float16),
        "RAGGED": int(grid.ragged),
    }
    return "\n".join(f"#define GATEFLOW_{name} {value}" for name, value in given.items())


def facts(grid: Grid) -> str:
    """The structure `Cut`."""
    exchange, parts = grid.exchange, grid.parts
    plan, passes = exchange.plan, exchange.passes
    products = [(k, p, term) for k, p in enumerate(passes) for term in p.terms]
    begins = [0]
    for _, p, term in products:
        begins.append(begins[-1] + grid.weights_of(p, term))
    numbers = {
        "blocks": grid.blocks,
        "operands": grid.operands,
        "columns": grid.total_columns[-1],
        "weights_of_block": grid.weights,
        "stage": parts.stage,
        "partial": parts.partial,
        "gathered": parts.gathered,
        "sliced": parts.sliced,
        "totals": parts.totals,
        "numbers": parts.numbers,
    }
    lines = [f"    static constexpr int {', '.join(f'{name} = {value}' for name, value in numbers.items())};"]
    lines += [
        by_place("int", "width", (grid.sizes[width] for width in plan.widths), 0),
        by_place("int", "share", (grid.share(width) for width in plan.widths), 0),
        by_place("int", "column_of", (grid.column(row) for row in plan.rows), -1),
        by_place("int", "total_column", grid.total_columns[:-1], 0),
    ]

    def of_products(name: str, value: Callable[[int, Pass, Term], int]) -> str:
        return by_place("int", name, (value(*product) for product in products), 0)

    lines += [
        of_products("rows", lambda k, p, term: grid.rows(p, term)),
        of_products("depth", lambda k, p, term: grid.depth(term.columns)),
        of_products("first_sum", lambda k, p, term: term.first),
        of_products("count", lambda k, p, term: term.count),
        of_products("column", lambda k, p, term: grid.column(term.operand)),
        of_products("later", lambda k, p, term: exchange.later(k, term)),
        of_products("previous", lambda k, p, term: int(term.operand.kind is Kind.PREVIOUS)),
        by_place("int", "begin", begins[:-1], 0),
    ]
    return "\n".join(["struct Cut {", *lines, "};"])


def by_place(kind: str, name: str, values: Iterable[object], other: object) -> str:
    """A constant for each place, as a function.

    An array it is not: device code cannot take the address of a constant of the host.
    """
    found: Sequence[tuple[int, object]] = [(k, value) for k, value in enumerate(values) if value != other]
    cases = "".join(f"place == {k} ? {value} : " for k, value in found)
    return f"    GATEFLOW_INLINE static constexpr {kind} {name}(int place) {{ return (void)place, {cases}{other}; }}"
