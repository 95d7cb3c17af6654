"""Any model with our layers leaves by torch's own exporter, and ONNX Runtime computes what our layers do."""

from collections import Counter

import pytest
import torch
from tests.compiler.random_cell import EXAMPLES, ROWS, cell_class
from torch import nn, sigmoid, tanh
from torch.nn.utils import parametrizations

import gateflow
from gateflow import Cell, Recurrent, cells
from gateflow.errors import ExportError
from gateflow.export.onnx_file import onnx_bytes

onnx = pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxscript", reason="needs onnxscript, by which torch writes ONNX")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

I, H = 3, 4
T, B = torch.export.Dim("T", min=1), torch.export.Dim("B", min=1)
SEQUENCE = {0: T, 1: B}
OPERATORS = {"elman": "RNN", "elman_relu": "RNN", "gru": "GRU", "full_gru": "GRU"}
OPERATORS |= dict.fromkeys(("lstm", "np", "peephole_lstm"), "LSTM")


class Ragged(nn.Module):
    """A layer with all that its call takes."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths, state):
        return self.layer(x, state, lengths)

    def arguments(self, steps, lengths, dtype=torch.float32):
        rows = len(lengths)
        x = torch.randn(steps, rows, self.layer.input_size, dtype=dtype)
        parts = [cell.state_sizes.values() for cell in self.layer.cells]
        state = [tuple(torch.randn(rows, size, dtype=dtype) for size in sizes) for sizes in parts]
        return x, torch.tensor(lengths), state

    def dynamic(self):
        return SEQUENCE, {0: B}, [tuple({0: B} for _ in cell.states) for cell in self.layer.cells]


def operators(file):
    return Counter(node.op_type for node in onnx.load(file).graph.node)


SHIPPED = [name for name in cells.names() if cells.get(name).__module__.startswith("gateflow.")]
# The reverse direction is the same code for all cells, and torch's exporter takes half a second for each `Scan`.
BOTH_WAYS = ["elman", "elman_relu", "gru", "full_gru", "peephole_lstm", "layernorm_lstm", "indrnn"]


# Of one stack of all cells the exporter takes four times as long: its time grows faster than a graph.
STACKS = [(SHIPPED[k::4], False) for k in range(4)] + [(BOTH_WAYS[k::2], True) for k in range(2)]


@pytest.mark.parametrize(
    ("names", "bidirectional"), STACKS, ids=lambda value: value[0] if isinstance(value, list) else None
)
def test_shipped_cells_ragged_and_stacked(exported, names, bidirectional):
    """One layer for each cell; the final states of all layers are outputs, so that each is judged."""
    torch.manual_seed(0)
    model = Ragged(Recurrent(names, I, H, bidirectional=bidirectional, merge="sum")).eval()
    # A length of 0, which ONNX Runtime's own operators refuse; sizes are others than at export.
    file = exported(model, model.arguments(5, [5, 3]), model.arguments(7, [4, 7, 0]), model.dynamic(), optimize=False)
    wanted, found = Counter(OPERATORS.get(name, "Scan") for name in names), operators(file)
    wanted["Scan"] *= 1 + bidirectional  # ONNX's own operators have both directions in one
    assert {kind: found[kind] for kind in wanted} == wanted


def test_float64_for_which_onnx_runtime_has_scan_alone(exported):
    model = Ragged(Recurrent(["lstm", "layernorm_gru"], I, H, bidirectional=True).double()).eval()
    args, others = (model.arguments(*sizes, torch.float64) for sizes in ((5, [5, 3]), (4, [1, 4, 2])))
    assert "LSTM" not in operators(exported(model, args, others, model.dynamic()))


def test_every_operation_that_a_step_may_use(exported):
    """All rows of the table in one step, each as its examples write it; the sum of all is what is compared."""
    lines = [f"v{k} = {form.format('a', 'b')}" for k, form in enumerate((*EXAMPLES, *ROWS))]
    head = ["class Every(Cell):", "    states, gates = ('h', 'c'), ('p', 'q')", "    def step(self, x, h, c):"]
    total = " + ".join(f"v{k}" for k in range(len(lines)))
    body = ["a, b = self.p(h, x), self.q(c, x)", *lines, f"total = {total}"]
    body += [f"return torch.tanh(total / {len(lines)}), torch.sigmoid(a - b)"]
    text = "\n".join([*head, *(f"        {line}" for line in body), ""])
    model = Recurrent(cell_class(text, "Every"), I, H).eval()
    file = exported(model, (torch.randn(4, 2, I),), (torch.randn(6, 3, I),), (SEQUENCE,))
    assert operators(file)["Scan"] == 1


class Leaky(Cell):
    """A user's cell, with a number of its own, of an operation that the compiler does not know."""

    states = ("h", "trace")
    gates = ("content",)

    def __init__(self, *sizes, rate=0.3, **options):
        self.rate = rate
        super().__init__(*sizes, **options)

    def step(self, x, h, trace):
        trace = self.rate * trace + torch.cumsum(h, -1) / 8
        return (1 - self.rate) * h + self.rate * tanh(self.content(trace, x)), trace


class Negated(cells.LSTM):
    """Another step than the LSTM's, over its weights: ONNX's operator would be wrong."""

    def step(self, x, h, c):
        h, c = super().step(x, h, c)
        return -h, c


class Options(nn.Module):
    """What a layer does around its cells."""

    def __init__(self):
        super().__init__()
        self.highway = Recurrent("lstm", I, H, num_layers=2, skip="highway", bias=False, learn_initial_state=True)
        self.held = Recurrent("gru", H, 5, bidirectional=True, merge="mul", zoneout=0.2)
        self.mine = Recurrent([Leaky, Negated], I, H, dense=[6])
        self.first = gateflow.LSTM(I, H, num_layers=2, proj_size=2, batch_first=True)
        self.normed = parametrizations.weight_norm(gateflow.GRU(I, H), "weight_hh_l0")
        with torch.no_grad():
            for name, weight in self.named_parameters():
                weight += 0.3 if "initial" in name else 0.0

    def forward(self, x, hx):
        y, state = self.highway(x)
        first = self.first(x.transpose(0, 1), hx)
        return y, state, self.held(y), self.mine(x), first, self.normed(x)


def test_options_projections_parametrizations_and_cells_of_users(exported):
    model = Options().eval()

    def arguments(steps, rows):
        return torch.randn(steps, rows, I), (torch.randn(2, rows, 2), torch.randn(2, rows, H))

    file = exported(model, arguments(5, 2), arguments(6, 3), (SEQUENCE, ({1: B}, {1: B})))
    # The two of `highway` and the one whose weights are computed; what zones out, projects or is changed is Scan.
    assert {kind: operators(file)[kind] for kind in ("LSTM", "GRU")} == {"LSTM": 2, "GRU": 1}


class Counting(Cell):
    states = ("h",)
    gates = ("content",)
    steps = 0

    def step(self, x, h):
        self.steps += 1
        return sigmoid(self.content(h, x)) / self.steps


def test_a_helper_for_whole_files_says_what_is_behind_torchs_page_of_advice():
    model = Recurrent(Counting, I, H).eval()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_shapes": None, "metadata": {}}
    with pytest.raises(ExportError, match=r"cannot write this model as ONNX: ExportError: Counting cannot be exported"):
        onnx_bytes(model, (torch.zeros(5, 2, I),), **names)


def refused(model, *args):
    """What the errors of a refused export say, those that caused it included."""
    with pytest.raises(Exception) as error:  # noqa: PT011  (torch wraps it in an error of its own)
        torch.onnx.export(model.eval(), args, dynamo=True, verbose=False)
    chain, each = [], error.value
    while each is not None:
        chain.append(str(each))
        each = each.__cause__
    return "\n".join(chain)


def test_what_no_graph_can_hold_is_refused_when_it_is_exported():
    x = torch.zeros(5, 2, I)
    assert "Counting cannot be exported" in refused(Recurrent(Counting, I, H), x)
    assert "`resets` cannot be exported" in refused(Recurrent("lstm", I, H), x, None, None, torch.zeros(5, 2).bool())
