"""Cells that ask for the time since the step before: `def step(self, x, dt, …)`."""

import pytest
import torch
from tests.oracle import needs_compiler
from torch import exp, sigmoid, tanh
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gateflow import Recurrent
from gateflow.cells import Cell
from gateflow.errors import CellError, ShapeError
from gateflow.recurrence import explain, force_path

T, B, I, H = 6, 4, 3, 5
LENGTHS = torch.tensor([6, 3, 1, 4])


class Decaying(Cell):
    """The state fades with the time that passes."""

    states, gates, diagonals = ("h", "c"), ("new", "open"), ("rate",)

    def step(self, x, dt, h, c):
        h = h * exp(-dt * torch.nn.functional.softplus(self.rate))
        o = sigmoid(self.open(c, x))
        h = o * tanh(self.new(h, x)) + (1 - o) * h
        return h, 0.5 * c + dt * h


def by_hand(layer, x, dt, lengths=None):
    """The outputs of each direction, one sequence at a time, one step after the other."""
    outputs = []
    for d, cell in enumerate(layer.cells):
        rows = []
        for b in range(x.shape[1]):
            n = x.shape[0] if lengths is None else int(lengths[b])
            order, state, made = range(n) if d == 0 else range(n - 1, -1, -1), None, [None] * n
            for t in order:
                elapsed = dt[t, b] if d == 0 else (dt[t + 1, b] if t + 1 < n else torch.zeros(()))
                columns = torch.stack([dt[t, b], elapsed]) if len(layer.cells) == 2 else elapsed[None]
                row = torch.cat([x[t, b], columns.to(x.dtype)])[None]
                state = cell.bind().advance(row, cell.initial_state(row) if state is None else state)
                made[t] = state[0][0]
            rows.append(torch.cat([torch.stack(made), x.new_zeros(x.shape[0] - n, H)]))
        outputs.append(torch.stack(rows, 1))
    return torch.cat(outputs, -1)


@needs_compiler
@pytest.mark.parametrize("path", ["native", "reference"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_step_is_given_the_time_since_the_step_before(path, lengths, bidirectional):
    torch.manual_seed(0)
    layer = Recurrent(Decaying, I, H, bidirectional=bidirectional, dtype=torch.float64)
    x, dt = torch.randn(T, B, I, dtype=torch.float64), torch.rand(T, B, dtype=torch.float64).requires_grad_()
    inputs = [dt, *layer.parameters()]
    with force_path(path):
        y, _ = layer(x, lengths=lengths, dt=dt)
        slope = torch.randn_like(y)
        found = torch.autograd.grad(y, inputs, slope)
    wanted = by_hand(layer, x, dt, lengths)
    torch.testing.assert_close(y, wanted, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found, torch.autograd.grad(wanted, inputs, slope), atol=1e-10, rtol=1e-10)


@needs_compiler
def test_it_is_native_and_the_products_of_the_input_run_ahead():
    layer = Recurrent(Decaying, I, H)
    assert explain(layer).rows[0][1].path == "native"
    step = explain(layer).rows[0][1].step
    assert len(step.cell.storage.hoisted) == 2


@needs_compiler
def test_every_form_of_dt_is_the_same():
    torch.manual_seed(0)
    layer, x, dt = Recurrent(Decaying, I, H, num_layers=2), torch.randn(T, B, I), torch.rand(T, B)
    first = Recurrent(Decaying, I, H, num_layers=2, batch_first=True)
    first.load_state_dict(layer.state_dict())
    wanted, _ = layer(x, lengths=LENGTHS, dt=dt)
    for given in (dt[:, :, None], dt.double(), dt.where(torch.arange(T)[:, None] < LENGTHS, torch.nan)):
        torch.testing.assert_close(layer(x, lengths=LENGTHS, dt=given)[0], wanted)
    found, _ = first(x.transpose(0, 1), lengths=LENGTHS, dt=dt.t())
    torch.testing.assert_close(found.transpose(0, 1), wanted)
    packed, times = (pack_padded_sequence(t, LENGTHS, enforce_sorted=False) for t in (x, dt))
    torch.testing.assert_close(pad_packed_sequence(layer(packed, dt=times)[0])[0], wanted)
    torch.testing.assert_close(layer(x, dt=0.5)[0], layer(x, dt=torch.full((T, B), 0.5))[0])
    torch.testing.assert_close(layer(x)[0], layer(x, dt=1)[0])


@needs_compiler
def test_streams_and_episodes_have_their_own_times():
    torch.manual_seed(0)
    layer, x, dt = Recurrent(["lstm", Decaying], I, H), torch.randn(T, B, I), torch.rand(T, B)
    wanted, final = layer(x, dt=dt)
    state, outputs = None, []
    with torch.no_grad():
        for x_t, dt_t in zip(x, dt, strict=True):
            y, state = layer.step(x_t, state, dt=dt_t)
            outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs), wanted)
    torch.testing.assert_close(state[1], tuple(part.detach() for part in final[1]))
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3] = True
    found, _ = layer(x, resets=resets, dt=dt)
    torch.testing.assert_close(found[3:], layer(x[3:], dt=dt[3:])[0])


def test_a_cell_alone_takes_a_number_or_one_for_each_row():
    cell, x = Decaying(I, H), torch.randn(B, I)
    torch.testing.assert_close(cell(x, dt=2.0), cell(x, dt=torch.full((B, 1), 2.0)))
    torch.testing.assert_close(cell(x), cell(x, dt=torch.ones(B)))


def test_what_fits_no_step_is_refused():
    layer, x = Recurrent(Decaying, I, H), torch.randn(T, B, I)
    with pytest.raises(ShapeError, match=r"one number for each step of each sequence, \[T, B\] = \[6, 4\]"):
        layer(x, dt=torch.ones(B, T))
    with pytest.raises(ShapeError, match="no cell of this layer"):
        Recurrent("lstm", I, H)(x, dt=1.0)
    with pytest.raises(ShapeError, match="pack both alike"):
        layer(x, dt=pack_padded_sequence(torch.ones(T, B), LENGTHS, enforce_sorted=False))
    with pytest.raises(CellError, match="takes no dt"):
        Recurrent("lstm", I, H).cells[0](x[0], dt=1.0)
