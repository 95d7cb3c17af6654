"""The CUDA C++ of a loop: a cell's equations (`compiler/emit.py`) in the frame of `native/recurrence.cuh`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateflow.backends.cuda.exchange import Exchange
from gateflow.compiler.emit import program
from gateflow.compiler.plan import Kind, Pass, Plan, Row

__all__ = ["emit"]

# Our `tanh` and the like hide those of CUDA's own headers there.
_TEXT = """\
// {cell}, {name}: generated from its step; the frame is recurrence.cuh.
#include "recurrence.cuh"

namespace gateflow {{
using T = float;
using V = Vec<T>;
{program}
namespace {name} {{
{layout}
{frames}
using Arguments = Call<T, {slots}, {products}, {widths}, {passes}>;
}}  // namespace {name}
}}  // namespace gateflow

GATEFLOW_KERNEL(gateflow::threads) {name}(GATEFLOW_CALL gateflow::{name}::Arguments call) {{
    using namespace gateflow;
    run<{name}::Layout, T, {slots}, {name}::Arguments{listed}>(call);
}}
"""


def emit(cell: str, name: str, plan: Plan) -> str:
    """The text of one loop of a cell.

    Example:
        >>> from gateflow.cells import Elman
        >>> from gateflow.compiler import Costs, compile_cell
        >>> text = emit("Elman", "infer", compile_cell(Elman(3, 4)).programs(Costs(load=3)).infer)
        >>> print(text[text.index("struct Frame1") : text.index("using Arguments")])
        struct Frame1 {
            using Pass = Pass1;
            static constexpr int first = 0, number = 0, split = 8;
            GATEFLOW_INLINE static constexpr bool loads(int slot) { return (void)slot, slot == 0 ? true : false; }
        };
        <BLANKLINE>
    """
    exchange = Exchange(plan)
    frames, first = list[str](), 0
    for number, each in enumerate(exchange.passes):
        frames.append(_frame(plan.passes.index(each), each, plan, first, number))
        first += len(each.terms)
    return _TEXT.format(
        cell=cell,
        name=name,
        program=program(name, plan),
        layout=_layout(plan, exchange),
        frames="\n".join(frames),
        slots=len(plan.rows),
        # Arrays of no elements are not C++.
        products=max(1, first),
        widths=len(plan.widths),
        passes=max(1, len(frames)),
        listed="".join(f", {name}::Frame{plan.passes.index(each)}" for each in exchange.passes),
    )


def _layout(plan: Plan, exchange: Exchange) -> str:
    """What the frame must know of each row while it is compiled."""
    rows, widths = plan.rows, plan.widths
    lines = [
        _by_slot("Kind", "kind", rows, lambda row: f"Kind::{row.kind.value}", "Kind::fixed"),
        _by_slot("int", "written", rows, lambda row: str(int(exchange.written(row))), "0"),
        _by_slot("bool", "carried", rows, lambda row: "true" if exchange.carried(row) else "false", "false"),
        _by_slot("int", "width", rows, lambda row: str(widths.index(row.width)) if row.width in widths else "0", "0"),
    ]
    return "\n".join(["struct Layout {", *lines, "};"])


def _by_slot(kind: str, name: str, rows: Sequence[Row], value: Callable[[Row], str], other: str) -> str:
    # A function and not an array: device code cannot take the address of a constant of the host.
    values = [(k, value(row)) for k, row in enumerate(rows)]
    cases = "".join(f"slot == {k} ? {found} : " for k, found in values if found != other)
    return f"    GATEFLOW_INLINE static constexpr {kind} {name}(int slot) {{ return (void)slot, {cases}{other}; }}"


def _frame(k: int, p: Pass, plan: Plan, first: int, number: int) -> str:
    # Vectors and numbers are in the nearest cache already.
    loaded = {row for row in p.loads.values() if row.kind is not Kind.FIXED and row.width != "1"}
    lines = [
        f"struct Frame{k} {{",
        f"    using Pass = Pass{k};",
        f"    static constexpr int first = {first}, number = {number}, split = {8 if len(p.products) == 1 else 4};",
        _by_slot("bool", "loads", plan.rows, lambda row: "true" if row in loaded else "false", "false"),
    ]
    if p.totals:
        kinds = [_TOTALS[total.op] for total in p.totals]
        start = "".join(f"k == {i} ? {kind}::start() : " for i, kind in enumerate(kinds[:-1]))
        join = "".join(f"k == {i} ? {kind}::join(a, b) : " for i, kind in enumerate(kinds[:-1]))
        lines += [
            f"    GATEFLOW_INLINE static T start(int k) {{ return (void)k, {start}{kinds[-1]}::start(); }}",
            f"    GATEFLOW_INLINE static T join(int k, T a, T b) {{ return (void)k, {join}{kinds[-1]}::join(a, b); }}",
        ]
    return "\n".join([*lines, "};"])


_TOTALS = {"row_sum": "Sum", "row_max": "Largest", "row_min": "Smallest"}
