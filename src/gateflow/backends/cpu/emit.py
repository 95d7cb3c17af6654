"""The C++ text of a cell's kernel: its equations (`compiler/emit.py`) in the frame of `native/recurrence.h`."""

from __future__ import annotations

from collections.abc import Sequence

from gateflow.compiler.emit import program
from gateflow.compiler.plan import Plan
from gateflow.compiler.programs import LOOPS, Programs

__all__ = ["emit"]

_HEAD = """\
// {cell}: generated from its step; the frame is recurrence.h.
#include "recurrence.h"

namespace {{
using namespace gateflow;
using T = GATEFLOW_REAL;
using V = Vec<T>;
"""

# Everything is hidden but the loops: two kernels in one process must not share the static data of their templates.
_TAIL = """\
}}  // namespace

#pragma GCC visibility push(default)
extern "C" {{
{entries}
int64_t size_of_panels(int64_t units, int64_t depth, int64_t gates) {{
    return panels_of<T>(units) * panel_size<T>(depth, gates);
}}
}}
#pragma GCC visibility pop
"""


def emit(programs: Programs, loops: Sequence[str] = LOOPS) -> str:
    """The C++ text of a cell's loops.

    Example:
        >>> from gateflow.backends.cpu import COSTS
        >>> from gateflow.cells import Elman
        >>> from gateflow.compiler import compile_cell
        >>> text = emit(compile_cell(Elman(3, 4)).programs(COSTS), ["stream"])
        >>> text.splitlines()[0]
        '// Elman: generated from its step; the frame is recurrence.h.'
    """
    plans = {name: getattr(programs, name) for name in loops}
    text = [_HEAD.format(cell=programs.storage.graph.cell)]
    text += [program(name, each) for name, each in plans.items()]
    entries = [_entry(name, each) for name, each in plans.items()]
    return "\n".join([*text, _TAIL.format(entries="\n".join(entries))])


def _entry(name: str, plan: Plan) -> str:
    # Types, not data: each pass is a template argument, and its loops are compiled for it.
    passes = ", ".join(f"{name}::Pass{k}" for k in range(len(plan.passes)))
    return f"void {name}(const Call<T>* call) {{ run<{name}::Program, T, {passes}>(*call); }}"
