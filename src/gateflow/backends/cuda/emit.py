"""The CUDA C++ of a loop: a cell's equations (`compiler/emit.py`) in the frame of `native/recurrence.cuh`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateflow.backends.cuda.exchange import Exchange, Wait
from gateflow.backends.cuda.facts import by_place, definitions, facts
from gateflow.backends.cuda.grid import Grid
from gateflow.compiler.emit import program
from gateflow.compiler.plan import Plan, Row

__all__ = ["emit"]

# Our `tanh` and the like hide those of CUDA's own headers there.
_TEXT = """\
// {cell}, {name}: generated from its step; the frame is recurrence.cuh.
{definitions}
#include "recurrence.cuh"

namespace gateflow {{
using T = float;
using V = Vec<T>;
{program}
namespace {name} {{
{layout}
{frames}
{facts}
using Arguments = Call<Cut, T, {slots}, {products}>;
}}  // namespace {name}
}}  // namespace gateflow

GATEFLOW_KERNEL(gateflow::threads) {name}(GATEFLOW_CALL gateflow::{name}::Arguments call) {{
    using namespace gateflow;
    run<{name}::Layout, T, {slots}, {name}::Arguments{listed}>(call);
}}
"""


def emit(cell: str, name: str, plan: Plan, cut: Grid | None = None) -> str:
    """The text of one loop of a cell.

    Args:
        cell: its name.
        name: which loop.
        plan: its passes.
        cut: what the kernel is built for; without it the text is complete but for that.

    Example:
        >>> from gateflow.cells import Elman
        >>> from gateflow.compiler import Costs, compile_cell
        >>> text = emit("Elman", "infer", compile_cell(Elman(3, 4)).programs(Costs(load=3)).infer)
        >>> print(text[text.index("struct Frame1") : text.index("using Arguments")])
        struct Frame1 {
            using Pass = Pass1;
            static constexpr int first = 0, number = 0, split = 8;
            struct Early {
                GATEFLOW_INLINE static constexpr int of(int place) { return (void)place, place == 0 ? 1 : 0; }
            };
            struct Late {
                GATEFLOW_INLINE static constexpr int of(int place) { return (void)place, 0; }
            };
            struct Reads {
                GATEFLOW_INLINE static constexpr int of(int place) { return (void)place, place == 0 ? 1 : 0; }
            };
        };
        <BLANKLINE>
        <BLANKLINE>
    """
    exchange = Exchange(plan)
    frames, first = list[str](), 0
    for number, each in enumerate(exchange.passes):
        frames.append(_frame(exchange, number, first))
        first += len(each.terms)
    return _TEXT.format(
        cell=cell,
        name=name,
        definitions="" if cut is None else definitions(cut),
        facts="" if cut is None else facts(cut),
        program=program(name, plan),
        layout=_layout(plan, exchange),
        frames="\n".join(frames),
        slots=len(plan.rows),
        # Arrays of no elements are not C++.
        products=max(1, first),
        listed="".join(f", {name}::Frame{plan.passes.index(each)}" for each in exchange.passes),
    )


def _layout(plan: Plan, exchange: Exchange) -> str:
    """What the frame must know of each row while it is compiled."""
    rows, widths = plan.rows, plan.widths
    lines = [
        by_place("Kind", "kind", (f"Kind::{row.kind.value}" for row in rows), "Kind::fixed"),
        by_place("int", "written", (int(exchange.written(row)) for row in rows), 0),
        by_place("bool", "carried", ("true" if exchange.carried(row) else "false" for row in rows), "false"),
        by_place("int", "keeper", (_place(rows, exchange.keeper(row)) for row in rows), 0),
        by_place("int", "number", (exchange.number(row) for row in rows), -1),
        by_place("int", "width", (widths.index(row.width) if row.width in widths else 0 for row in rows), 0),
    ]
    return "\n".join(["struct Layout {", *lines, "};"])


def _frame(exchange: Exchange, number: int, first: int) -> str:
    plan, p = exchange.plan, exchange.passes[number]
    lines = [
        f"struct Frame{plan.passes.index(p)} {{",
        f"    using Pass = Pass{plan.passes.index(p)};",
        f"    static constexpr int first = {first}, number = {number}, split = {8 if len(p.products) == 1 else 4};",
        *_by_row("Early", exchange, exchange.asks(Wait(number))),
        *_by_row("Late", exchange, exchange.asks(Wait(number, is_late=True))),
        *_by_row("Reads", exchange, exchange.reads(number)),
    ]
    if p.totals:
        kinds = sum(_TOTALS.index(total.op) << 2 * k for k, total in enumerate(p.totals))
        lines.append(f"    static constexpr int kinds = {kinds};")
    return "\n".join([*lines, "};"])


def _place(rows: Sequence[Row], row: Row) -> int:
    return rows.index(row) if row in rows else 0


def _by_row(name: str, exchange: Exchange, values: Mapping[Row, int]) -> list[str]:
    of = by_place("int", "of", (int(values.get(row, 0)) for row in exchange.plan.rows), 0)
    return [f"    struct {name} {{", f"    {of}", "    };"]


_TOTALS = ("row_sum", "row_max", "row_min")
"""In the order of `native/totals.cuh`."""
