"""What `recurrence/` asks of a back end is what `base.py` says, and nothing else: one that runs a loop does as well."""

import pytest
import torch
from tests.recurrence.case import Case, assert_same

from gateflow import Recurrent, cells
from gateflow.backends import BACKENDS, Backend, Forward, Gradients, Sequences, SingleStep
from gateflow.compiler import Costs, look_at
from gateflow.recurrence import explain
from gateflow.recurrence.graph_loop import unroll_graph

I, H = 3, 5


class OneStep(SingleStep):
    def __init__(self, step, weights):
        self.captured, self.weights, self.shapes = step, weights, set()

    def prepare(self, x, state):
        self.shapes.add(x.shape)

    def __call__(self, x, state, *, reread):
        if x.shape not in self.shapes:
            return None
        return tuple(unroll_graph(Sequences(self.captured, x, self.weights, state))[1])


class Loop(Backend):
    """Runs the captured graph in a loop, and counts its runs."""

    name, dtypes, costs = "cpu", (torch.float32, torch.float64), Costs(load=0)

    def __init__(self):
        self.runs = []

    def obstacle(self):
        return None

    def obstacle_to(self, step, kept, dtype, products=None):
        return None

    def source(self, step):
        return str(step.cell.graph)

    def forward(self, run, *, keep):
        self.runs.append("forward")
        run.histories, finals = unroll_graph(run)
        saved = sum(run.sizes[node.width] for node in run.step.cell.storage.saved)
        return Forward(run.histories, finals, run.x.new_zeros(run.x.shape[0], saved) if keep else None)

    def backward(self, run, saved, d_output, d_finals, wanted, d_x):
        self.runs.append("backward")
        inputs = [run.x, *run.weights.values(), *run.states]
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in inputs]
            n = 1 + len(run.weights)
            weights = dict(zip(run.weights, leaves[1:n], strict=True))
            again = Sequences(run.step, leaves[0], weights, leaves[n:], run.holds, run.offsets, run.reverse)
            histories, finals = unroll_graph(again)
        pairs = [(o, d) for o, d in zip([histories[0], *finals], [d_output, *d_finals], strict=True) if d is not None]
        made = torch.autograd.grad([o for o, _ in pairs], leaves, [d for _, d in pairs], materialize_grads=True)
        return Gradients(
            made[0], {k: g for k, g in zip(weights, made[1:n], strict=True) if k in wanted}, list(made[n:])
        )

    def stream(self, step, weights):
        return OneStep(step, weights)


@pytest.fixture
def loop(monkeypatch):
    backend = Loop()
    monkeypatch.setitem(BACKENDS, "cpu", backend)
    return backend


@pytest.mark.parametrize("name", ["lstm", "full_gru", "layernorm_gru"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]])
def test_another_back_end_runs_any_cell(loop, name, lengths):
    torch.manual_seed(0)
    both = tuple(cells.get(name)(I, H, dtype=torch.float64) for _ in range(2))
    case = Case(both, 4, 3, lengths)
    assert_same(case.run("native"), case.run("reference"), 1e-11, name)
    assert set(loop.runs) == {"forward", "backward"}


def test_another_back_end_streams(loop):
    layer, x, state = Recurrent("lstm", I, H), torch.randn(6, 2, I), None
    assert explain(layer, x).paths == ("native",)
    with torch.no_grad():
        wanted = layer(x)[0]
        for t in range(6):
            y, state = layer.step(x[t], state)
            torch.testing.assert_close(y, wanted[t])


def test_finals_of_ragged_sequences_need_no_number_on_the_host():
    """On a device the host would wait for it; a tensor without data has none to give."""
    step, weights = look_at(cells.LSTM(I, H)), dict(cells.LSTM(I, H, device="meta").named_parameters())
    with torch.device("meta"):
        states = [torch.zeros(3, H), torch.zeros(3, H)]
        run = Sequences(step, torch.zeros(7, I), weights, states, offsets=torch.zeros(5, dtype=torch.int64))
        run.histories = [torch.zeros(7, H), torch.zeros(7, H)]
        assert [f.device.type for f in run.finals()] == ["meta", "meta"]
        assert run.counts.shape == (4,)
