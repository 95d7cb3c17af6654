"""The captured graph computes what `step` computes, and its derivative is autograd's."""

import pytest
import torch

from gateflow import cells
from gateflow.compiler.capture import capture
from gateflow.compiler.differentiate import differentiate
from gateflow.compiler.interpret import interpret as interpreted
from gateflow.compiler.node import Sizes

I, H, B = 3, 5, 2


def interpret(outputs, leaves, cell):
    return interpreted(outputs, leaves, dict(cell.named_parameters()), Sizes(H=H, P=cell.output_size, I=cell.row_size))


def prepared(name):
    torch.manual_seed(0)
    cell = cells.get(name)(I, H, dtype=torch.float64)
    x = torch.randn(B, cell.row_size, dtype=torch.float64)
    state = tuple(torch.randn(B, size, dtype=torch.float64, requires_grad=True) for size in cell.state_sizes.values())
    return cell, x, state, {"x": x, **dict(zip(cell.states, state, strict=True))}


@pytest.mark.parametrize("name", cells.names())
def test_graph_computes_the_step(name):
    cell, x, state, leaves = prepared(name)
    for got, expected in zip(interpret(capture(cell).new_states, leaves, cell), cell(x, state), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", cells.names())
def test_backward_is_autograds(name):
    cell, x, state, leaves = prepared(name)
    new = cell(x, state)
    cotangents, at_output = [torch.randn_like(part) for part in new], torch.randn_like(new[0])
    backward = differentiate(capture(cell))
    leaves |= {f"d_{s}": d for s, d in zip(cell.states, cotangents, strict=True)} | {"d_output": at_output}
    rows = iter(interpret(backward.outputs, leaves, cell))
    weights = dict(cell.named_parameters())
    expected = torch.autograd.grad(new, [*state, *weights.values()], [cotangents[0] + at_output, *cotangents[1:]])
    for wanted in expected[: len(state)]:
        torch.testing.assert_close(next(rows).expand_as(wanted), wanted, rtol=1e-10, atol=1e-12)
    found = {n: torch.zeros_like(w) for n, w in weights.items()}
    for delta in backward.deltas:
        row, (operand,) = next(rows), interpret([delta.operand], leaves, cell)
        start = delta.weight.block * H
        found[delta.weight.name][start : start + row.shape[-1]] += row.T @ operand
        if delta.weight.bias:
            found[delta.weight.bias][start : start + H] += row.sum(0)
    for parameter, _ in backward.parameters:
        found[parameter] += next(rows).sum(0)
    for name_, wanted in zip(weights, expected[len(state) :], strict=True):
        torch.testing.assert_close(found[name_], wanted, rtol=1e-10, atol=1e-12, msg=lambda m, n=name_: f"{n}: {m}")
