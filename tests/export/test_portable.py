"""Programs of torch's own operators, and packages of AOTInductor, in a process without gateflow."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.oracle import assert_close, needs_compiler
from torch import nn
from torch.utils._pytree import tree_leaves

import gateflow
from gateflow import Recurrent
from gateflow.errors import ExportError
from gateflow.export import portable

# The C++ around the loops without optimization, which compiles sooner; and Inductor 2.13 declares the result of a loop
# twice where the next operation may write into it (docs/export.md).
SETTINGS = {"aot_inductor.compile_wrapper_opt_level": "O0", "inplace_buffers": False}
T, B = torch.export.Dim("T", min=1), torch.export.Dim("B", min=1)


class Model(nn.Module):
    """Ragged, stacked, with a state; a cell that torch has and one that it does not have."""

    def __init__(self):
        super().__init__()
        self.encoder = Recurrent("layernorm_gru", 3, 4, learn_initial_state=True)
        self.decoder = gateflow.GRU(4, 5)

    def forward(self, x, lengths, hx):
        y, state = self.encoder(x, lengths=lengths)
        return *self.decoder(y, hx), state


def program_of(model, args, shapes=None):
    with portable():
        return torch.export.export(model, args, dynamic_shapes=shapes)


@needs_compiler
def test_in_a_process_without_gateflow(tmp_path):
    torch.manual_seed(0)
    model = Model().eval()
    args = torch.randn(5, 2, 3), torch.tensor([5, 3]), torch.randn(1, 2, 5)
    program = program_of(model, args, ({0: T, 1: B}, {0: B}, {1: B}))
    torch.export.save(program, tmp_path / "program.pt2")
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "package.pt2"), inductor_configs=SETTINGS
    )
    others = torch.randn(7, 3, 3), torch.tensor([4, 0, 7]), torch.randn(1, 3, 5)
    torch.save(others, tmp_path / "args.pt")
    command = [sys.executable, str(Path(__file__).with_name("loader.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        wanted = tree_leaves(model(*others))
    for name, found in torch.load(tmp_path / "out.pt").items():
        for k, (a, b) in enumerate(zip(tree_leaves(found), wanted, strict=True)):
            assert_close(a.detach(), b, f"output {k} of the {name}")


def test_a_program_has_the_gradients_of_the_layer():
    layer, x = Recurrent("layernorm_lstm", 3, 4).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    program = program_of(layer, (x,)).module()
    weights = list(layer.parameters())
    wanted = torch.autograd.grad(layer(x)[0].square().sum(), weights)
    own = dict(program.named_parameters())
    found = torch.autograd.grad(program(x)[0].square().sum(), [own[name] for name, _ in layer.named_parameters()])
    for a, b, (name, _) in zip(found, wanted, layer.named_parameters(), strict=True):
        assert_close(a, b, name)


def test_sequences_lie_without_gaps():
    """Inductor copies one that has gaps at each step, all of it: packages took time by the square of the steps."""
    layer = Recurrent("layernorm_gru", 3, 4, bidirectional=True, batch_first=True).eval()
    program = program_of(layer, (torch.randn(2, 5, 3),))
    scans = [node for node in program.graph.nodes if node.target is torch.ops.higher_order.scan]
    assert len(scans) == 2
    for scan in scans:
        _, states, sequences, _ = scan.args
        assert all(each.meta["val"].is_contiguous() for each in (*states, *sequences))


@needs_compiler
def test_what_cannot_be_packed_is_refused_when_it_is_packed(tmp_path):
    x = torch.zeros(5, 2, 3)
    program = torch.export.export(Recurrent("indrnn", 3, 4).eval(), (x,))
    with pytest.raises(Exception, match=r"AOTInductor cannot pack .* IndRNN .*portable"):
        torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "package.pt2"))
    with pytest.raises(Exception, match=r"ONNX does not know .* IndRNN .*portable"):
        torch.onnx.export(program, verbose=False)
    with portable(), pytest.raises(Exception, match="strict=False") as error:
        torch.export.export(Recurrent("indrnn", 3, 4), (x,), strict=True)
    assert not isinstance(error.value, ExportError)  # dynamo's own, with our words
