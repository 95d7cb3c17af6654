"""The name of a step means the same in every process, and what is read of one is not believed."""

import json
import math
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compiler.random_cell import cell_class
from tests.compiler.random_cell import text_of as random_text
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same

from gateflow import Cell, Recurrent, cells
from gateflow.compiler import look_at, step_named
from gateflow.compiler.naming import graph_and_weights, text_of
from gateflow.errors import ArtifactError, ReferencePathWarning, ShapeError
from gateflow.recurrence.autograd import recurrence_operator

I, H = 3, 5


class Rated(Cell):
    states, gates = ("h",), ("g",)
    rate = 0.3

    def step(self, x, h):
        return (1 - self.rate) * h + (self.rate * torch.tanh(self.g(h, x))).clamp(-0.7, math.inf)


@pytest.mark.parametrize("name", cells.names())
@pytest.mark.parametrize("zoneout", [False, True])
def test_a_name_is_read_as_it_was_written(name, zoneout):
    cell = cells.get(name)(I, H)
    step = look_at(cell, zoneout=zoneout)
    graph, weights = graph_and_weights(step.cell.text)
    assert str(graph) == str(step.cell.graph)
    assert text_of(graph, weights) == step.cell.text
    assert step_named(step.name) == step


@pytest.mark.parametrize("seed", range(12))
def test_so_are_those_of_random_cells(seed):
    text = random_text(seed, direct=True)
    step = look_at(cell_class(text, f"Random{seed}")(H, H))
    assert not isinstance(step, str)
    graph, weights = graph_and_weights(step.cell.text)
    assert text_of(graph, weights) == step.cell.text


def test_numbers_are_a_part_of_the_name():
    first = look_at(Rated(I, H))
    assert step_named(first.name).numbers == first.numbers == (0.7, 0.3, -0.7)


NUMBERS = ["softmax(-1)", "logsumexp(-1, keepdim=True)", "norm(dim=-1, keepdim=True)", "max(-1, keepdim=True).values"]
ROWS_OF_NUMBERS = {
    "a row of ones": "torch.tanh(self.g(torch.ones_like(h), x))",
    "ones beside a state": "torch.tanh(self.g(torch.cat((torch.ones_like(h[..., :2]), h[..., 2:]), -1), x))",
    "ones times a number": "torch.tanh(self.g(h, x)) * (0.3 * torch.ones_like(h)).sum(-1, keepdim=True)",
    "a matrix of one column": "torch.tanh(self.g(h, x) + F.linear(h.mean(-1, keepdim=True), self.weight_w[:, :1]))",
} | {f"one number: {call}": f"torch.tanh(self.g(h, x)) * h[..., :1].{call}" for call in NUMBERS}


@needs_compiler
@pytest.mark.parametrize("name", ROWS_OF_NUMBERS)
def test_so_are_rows_of_numbers_and_rows_of_one_number(name):
    text = "class Made(Cell):\n    states, gates, matrices = ('h',), ('g',), ('w',)\n    def step(self, x, h):\n"
    text += f"        return {ROWS_OF_NUMBERS[name]} + 0.1 * self.w(h)\n"
    torch.manual_seed(0)
    case = Case((cell_class(text, "Made")(I, H, dtype=torch.float64),), 4, 2)
    step = look_at(case.cells[0])
    graph, weights = graph_and_weights(step.cell.text)
    assert str(graph) == str(step.cell.graph)
    assert [n.width for n in graph.nodes] == [n.width for n in step.cell.graph.nodes]
    assert text_of(graph, weights) == step.cell.text
    assert_same(case.run("native"), case.run("reference"), 1e-10)


def exported(change):
    """A name with something changed in it."""
    size, numbers, text = look_at(Rated(I, H)).name.split("|", 2)
    return change(size, numbers, json.loads(text))


def put(*path, value):
    def change(size, numbers, read):
        place = read
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return f"{size}|{numbers}|{json.dumps(read)}"

    return change


EVIL = "h;}//\nint main(){system(0);}"
DAMAGE = {
    "nothing": lambda *_: "",
    "words": lambda *_: "Rated cannot be compiled",
    "no text": lambda size, numbers, read: f"{size}|{numbers}|",
    "no numbers": lambda size, numbers, read: f"{size}||{json.dumps(read)}",
    "no size": lambda size, numbers, read: f"0|{numbers}|{json.dumps(read)}",
    "a negative size": lambda size, numbers, read: f"-4|{numbers}|{json.dumps(read)}",
    "numbers of words": lambda size, numbers, read: f"{size}|a,b|{json.dumps(read)}",
    "deep": lambda size, numbers, read: f"{size}|{numbers}|" + "[" * 100_000,
    "long": lambda size, numbers, read: f"{size}|{numbers}|" + " " * (1 << 23),
    "a list": lambda size, numbers, read: f"{size}|{numbers}|[]",
    "another version": put("gateflow", value=3),
    "an evil cell": put("cell", value=EVIL),
    "an evil state": put("nodes", 1, 1, value=EVIL),
    "an evil input": put("nodes", 0, 1, value=EVIL),
    "an evil weight": put("weights", EVIL, value=[[1, "H"]]),
    "an evil operation": put("nodes", 2, 0, value=EVIL),
    "an unknown operation": put("nodes", 2, 0, value="system"),
    "a node that is to come": put("states", value=[99]),
    "a node before the first": put("new", value=[-1]),
    "no states": put("states", value=[]),
    "two states for one": put("states", value=[1, 1]),
    "a width": put("nodes", 1, 2, value="Z"),
    "a wide state": put("nodes", 1, 2, value="I"),
    "no shape": put("weights", "weight_hh", value=[]),
    "a weight of another shape": put("weights", "weight_hh", value=[[1, "H"], [2, "H"]]),
    "a bias of another shape": put("weights", "bias_hh", value=[[2, "H"]]),
    "a million blocks": put("weights", "weight_hh", value=[[10**9, "H"], [1, "H"]]),
    "text for a place": put("new", value=["1"]),
    "truth for a place": put("new", value=[True]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_name_is_refused(name):
    with pytest.raises(ArtifactError, match="export it again|version|characters"):
        step_named(exported(DAMAGE[name]))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_changed_it_is_read_or_refused(data):
    """And if it is read, then as what it says: no other error, and nothing of C++ in a name."""
    text = list(look_at(Rated(I, H)).name)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from(list('0123456789"[]{},:HPIabz_ |-')))
    try:
        step = step_named("".join(text))
    except ArtifactError:
        return
    graph, weights = graph_and_weights(step.cell.text)
    assert text_of(graph, weights) == step.cell.text
    assert all(node.name.isidentifier() for node in graph.nodes if node.name)


def tensors(step, dtype=torch.float32, device="cpu"):
    shapes = step.cell._shapes(H, 0, I)
    weights = [torch.randn(s, dtype=dtype, device=device) for s in shapes]
    return torch.randn(8, I, dtype=dtype, device=device), weights, [torch.zeros(2, H, dtype=dtype, device=device)]


def test_weights_of_another_shape_are_refused():
    """The loops read as many numbers as the name says there are."""
    step = look_at(Rated(I, H))
    x, weights, states = tensors(step)
    weights[1] = weights[1][:2]
    with pytest.raises(ShapeError, match="weights of Rated must have the shapes"):
        recurrence_operator(
            step.name, x, weights, states, [], torch.empty(0, dtype=torch.int64), False, None, "nothing"
        )


@needs_compiler
def test_where_no_kernel_can_be_built_the_operator_runs_its_graph(monkeypatch):
    """Forward and back, whatever gradients are asked for."""
    from gateflow.backends.cpu import kernel
    from gateflow.errors import BuildError

    step = look_at(Rated(I, H))
    x, weights, states = tensors(step, torch.float64)
    inputs = [x.requires_grad_(), *[w.requires_grad_() for w in weights], states[0].requires_grad_()]

    def run():
        none = torch.empty(0, dtype=torch.int64)
        y, final, *_ = recurrence_operator(step.name, x, weights, states, [], none, True, None, "fast")
        return [y, final, *torch.autograd.grad((y * y).sum() + final.sum(), inputs)]

    def fails(*_, **__):
        raise BuildError("no compiler")

    def changed_in_place():
        none = torch.empty(0, dtype=torch.int64)
        y, *_ = recurrence_operator(step.name, x, weights, states, [], none, True, None, "fast")
        return torch.autograd.grad(y.mul_(2).sum(), inputs)

    def both():
        return [*run(), *changed_in_place()]

    wanted = both()
    monkeypatch.setattr(kernel.Kernel, "loop", fails)
    with pytest.warns(ReferencePathWarning, match="Rated runs as a loop, right but slow: no compiler"):
        found = both()
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@needs_compiler
def test_an_exported_program_is_the_same_cell_in_another_process(tmp_path):
    """A cell of a user, whose class the other process does not have, with other cells captured there before; twice."""
    model, x = Recurrent(Rated, I, H, bidirectional=True), torch.randn(6, 2, I)
    program = torch.export.export(Wrapped(model), (x,))
    torch.export.save(program, tmp_path / "program.pt2")
    torch.save((x, model(x)[0].detach()), tmp_path / "expected.pt")
    for before in ("", "gateflow.LSTM(3, 4)(torch.randn(2, 1, 3)); gateflow.Recurrent('full_gru', 2, 2)"):
        code = textwrap.dedent(f"""
            import gateflow, torch
            {before}
            x, y = torch.load("expected.pt")
            run = torch.export.load("program.pt2").module()
            assert (run(x) - y).abs().max() < 1e-6
            run(x).sum().backward()
        """)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


class Wrapped(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]
