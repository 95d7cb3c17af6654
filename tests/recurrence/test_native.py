"""The native path gives what the reference gives: every shipped cell, every shape, and all gradients."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same

from gateflow import cells
from gateflow.recurrence import force_path

pytestmark = needs_compiler

T, B, I = 7, 5, 3
LENGTHS = [3, 7, 0, 1, 7]
FAMILIES = "elman indrnn lstm peephole_lstm layernorm_lstm projected_lstm full_gru gru".split()


def both_directions(name, H, *, dtype=torch.float64, inputs=I, bias=True):
    options = {"proj_size": H - 2} if name == "projected_lstm" and H > 3 else {}
    return tuple(cells.get(name)(inputs, H, bias=bias, dtype=dtype, **options) for _ in range(2))


def judged(*cases):
    for case in cases:
        assert_same(case.run("native"), case.run("reference"), 1e-11, case)


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_is_the_reference(name):
    judged(
        Case(both_directions(name, 17), T, B, LENGTHS),
        Case(both_directions(name, 35), T, 9),
        Case(both_directions(name, 16), T, 26, [k % (T + 1) for k in range(26)]),
        Case(both_directions(name, 5, inputs=1)[:1], 1, 1),
        Case(both_directions(name, 2 if name == "projected_lstm" else 1), T, B, LENGTHS),
    )


@pytest.mark.parametrize("name", ["elman", "lstm", "full_gru", "layernorm_gru", "projected_lstm"])
def test_lean_memory_is_the_reference(name):
    lean = {"memory": "lean"}
    judged(Case(both_directions(name, 17), T, B, LENGTHS, **lean), Case(both_directions(name, 35), T, 9, **lean))


@pytest.mark.parametrize("name", ["lstm", "full_gru", "layernorm_gru", "projected_lstm"])
def test_zoneout_is_the_reference(name):
    held = {"zoneout": True}
    judged(Case(both_directions(name, 17), T, B, LENGTHS, **held), Case(both_directions(name, 5), T, B, **held))


def test_without_biases():
    judged(Case(both_directions("lstm", 17, bias=False), T, B, LENGTHS))


def test_more_lines_than_a_chunk_holds():
    """The stages between loops go by chunks of steps."""
    judged(Case(both_directions("full_gru", 5), 60, 40), Case(both_directions("lstm", 5), 60, 40, [60, 59, 0, 1] * 10))


def double(case):
    """The same case in fp64."""
    for cell in case.cells:
        cell.double()
    case.x = case.x.detach().double().requires_grad_()
    case.states = tuple(tuple(s.detach().double().requires_grad_() for s in state) for state in case.states)
    return case


def far(found, wanted):
    return {name: float((found[name].double() - wanted[name]).norm()) for name in wanted}


@pytest.mark.parametrize("name", FAMILIES)
def test_single_precision_is_no_further_from_the_truth_than_twice_the_plain_loop(name):
    case = Case(both_directions(name, 35, dtype=torch.float32), 50, 9)
    native, plain = case.run("native"), case.run("reference")
    truth = double(case).run("reference")
    ours, theirs = far(native, truth), far(plain, truth)
    for what, value in truth.items():
        few_ulp = 4 * torch.finfo(torch.float32).eps * float(value.norm())
        assert ours[what] <= 2 * theirs[what] + few_ulp, f"{what}: {ours[what]:.2e}, the loop {theirs[what]:.2e}"


@pytest.mark.parametrize("name", cells.names())
def test_finite_differences(name):
    case = Case(both_directions(name, 3), 3, 2, [2, 3])
    leaves = [t.detach().requires_grad_() for t in case.inputs().values()]

    def run(x, *rest):
        case.x, rest = x, iter(rest)
        states = []
        for cell in case.cells:
            states.append(tuple(next(rest) for _ in cell.states))
            for weight in list(cell._parameters):
                cell._parameters[weight] = next(rest)
        case.states = tuple(states)
        return tuple(case.outputs("native").values())

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("name", ["lstm", "full_gru", "layernorm_lstm"])
def test_second_derivatives(name):
    case = Case(both_directions(name, 3), 3, 2, [3, 1])
    weight = case.cells[1].weight_hh

    def run(x, start, w):
        case.x, case.states = x, (case.states[0], (start, *case.states[1][1:]))
        case.cells[1]._parameters["weight_hh"] = w
        return tuple(case.outputs("native").values())

    leaves = [t.detach().requires_grad_() for t in (case.x, case.states[1][0], weight)]
    with force_path("native"):
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)
