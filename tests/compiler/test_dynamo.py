"""torch's compiler, whose import takes a second, is loaded by programs that use it, and then knows what it must."""

import subprocess
import sys

COMPILERS = ("torch._dynamo", "torch._inductor", "sympy")
USES = {
    "import": "from gateflow import LSTM, Recurrent",
    "a training step": "import torch, gateflow; gateflow.LSTM(3, 4)(torch.zeros(5, 2, 3))[0].sum().backward()",
}
COMPILED_LATER = """
import gateflow, torch
class Own(gateflow.LSTM): pass
layer, x = Own(3, 4), torch.randn(5, 2, 3)
compiled = torch.compile(layer, backend="eager", fullgraph=True)
assert torch.equal(compiled(x)[0], layer(x)[0])
class Later(gateflow.LSTM): pass
assert torch.equal(torch.compile(Later(3, 4), backend="eager", fullgraph=True)(x)[0].new_zeros(1), torch.zeros(1))
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_nothing_loads_it_that_does_not_compile():
    for name, use in USES.items():
        found = run(f"import sys\n{use}\nprint([n for n in {COMPILERS} if n in sys.modules])")
        assert found.stdout.strip() == "[]", f"{name}: {found.stdout}{found.stderr}"


def test_layers_that_were_made_before_it_was_loaded_compile():
    found = run(COMPILED_LATER)
    assert found.returncode == 0, found.stderr
