"""The table of operations is whole: what each row says is so, and nothing that is known stands anywhere else."""

import re
from pathlib import Path

import pytest
import torch
from tests.compiler.random_cell import cell_class
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same

from gateflow.backends import cpu
from gateflow.compiler.calls import FUNCTIONS, METHODS, SUPPORTED
from gateflow.compiler.compositions import COMPOSITIONS
from gateflow.compiler.operations import COMPARISONS, OPERATIONS
from gateflow.compiler.rows import EXAMPLES as OF_ROWS

HEADERS = Path(cpu.__file__).parent / "native"
EXAMPLES = [(op, form) for op, row in {**OPERATIONS, **COMPOSITIONS}.items() for form in row.examples]
EXAMPLES += [(name, form) for name, forms in OF_ROWS.items() for form in forms]


@pytest.mark.parametrize("op", OPERATIONS)
def test_a_row_is_whole(op):
    row = OPERATIONS[op]
    assert row.examples or op in COMPARISONS, "random cells do not draw it"
    rows = [torch.rand(2, 3) for _ in range(row.arity)]
    assert row.torch(*rows).shape == (2, 3)
    functions = {getattr(f, "__name__", "").removeprefix("special_") for f in FUNCTIONS}
    assert {op, *row.aliases} & {*METHODS, *functions}, "no step can call it"
    assert row.infix or op == "neg" or op in SUPPORTED["unit by unit"], "no list names it"


@pytest.mark.parametrize("op", [op for op, row in OPERATIONS.items() if not row.cpp and not row.infix])
def test_cpp_has_a_function_of_its_name(op):
    text = "".join(path.read_text(encoding="utf-8") for path in HEADERS.glob("vector*.h"))
    assert re.search(rf"GATEFLOW_INLINE V {op}\(V \w+(, V \w+)*\)", text)


TOGETHER = 8
"""Examples that one kernel holds, each the new value of a part of the state: a kernel takes two seconds to build."""


@needs_compiler
@pytest.mark.parametrize(
    "first", range(0, len(EXAMPLES), TOGETHER), ids=lambda k: "-".join(op for op, _ in EXAMPLES[k : k + TOGETHER])
)
def test_every_example_compiles_and_is_the_reference(first):
    forms = [form for _, form in EXAMPLES[first : first + TOGETHER]]
    states = [f"s{k}" for k in range(len(forms))]
    lines = [
        f"0.3 * {s} + 0.1 * b + 0.7 * torch.tanh({form.format('a', 'b')})"
        for s, form in zip(states, forms, strict=True)
    ]
    text = f"class Some(Cell):\n    states, gates, inputs = {(*states,)}, ('g',), ('u',)\n"
    text += f"    def step(self, x, {', '.join(states)}):\n        a, b = self.g(s0, x), self.u(x)\n"
    text += f"        return {', '.join(lines)}\n"
    torch.manual_seed(0)
    case = Case((cell_class(text, "Some")(3, 5, dtype=torch.float64),), 4, 2)
    assert_same(case.run("native"), case.run("reference"), 1e-12, forms)
