"""What a cell is made of, and what is refused when one is made or built."""

import copy
import inspect
import pickle
import re

import pytest
import torch
from tests.oracle import assert_close, assert_gradients_close, gradients
from torch import nn, sigmoid, tanh

from gateflow import cells
from gateflow.cells import Cell
from gateflow.errors import CellError, ConfigError, UnknownCellError

TORCH_CELLS = {"elman": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", TORCH_CELLS)
def test_one_step_equals_torch(name, bias, dtype):
    ours = cells.get(name)(5, 7, bias=bias, dtype=dtype)
    theirs = TORCH_CELLS[name](5, 7, bias=bias, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(3, 7, dtype=dtype, requires_grad=True) for _ in ours.states)
    found, wanted = ours(x, state), theirs(x, state if len(state) > 1 else state[0])
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for a, b, part in zip(found, wanted, ours.states, strict=True):
        assert_close(a, b, part)
    names = ["x", *ours.states, *dict(ours.named_parameters())]
    assert_gradients_close(
        gradients(found, [x, *state, *ours.parameters()]), gradients(wanted, [x, *state, *theirs.parameters()]), names
    )


@pytest.mark.parametrize("name", TORCH_CELLS)
def test_same_seed_same_initial_weights_as_torch(name):
    torch.manual_seed(3)
    ours = cells.get(name)(5, 7)
    torch.manual_seed(3)
    for (key, a), (other, b) in zip(ours.named_parameters(), TORCH_CELLS[name](5, 7).named_parameters(), strict=True):
        assert key == other
        assert torch.equal(a, b)


def test_every_cell_of_the_list_is_registered():
    assert set(cells.names()) == {
        *("elman", "elman_relu", "indrnn", "simplified_gru", "full_gru", "gru", "minimal_gated_unit", "lstm"),
        *("projected_lstm", "peephole_lstm", "cifg_lstm", "layernorm_lstm", "layernorm_gru"),
        *("janet", "star", "min_gru", "mut1", "li_gru", "multiplicative_lstm", "rhn", "slstm"),
        *("cfc", "gru_d"),
        *("nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr"),
    }


@pytest.mark.parametrize("name", cells.names())
def test_copies_and_pickles(name):
    cell, x = cells.get(name)(3, 4), torch.randn(2, 3)
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert all(torch.equal(a, b) for a, b in zip(twin(x), cell(x), strict=True))


def test_a_cell_of_ten_lines():
    class Highwayish(Cell):
        states = ("h",)
        gates = ("carry", "content")

        def step(self, x, h):
            g = sigmoid(self.carry(h, x))
            return g * h + (1 - g) * tanh(self.content(h, x))

    cell = Highwayish(3, 4)
    assert {n: tuple(p.shape) for n, p in cell.named_parameters()} == {
        "weight_ih": (8, 3),
        "weight_hh": (8, 4),
        "bias_ih": (8,),
        "bias_hh": (8,),
    }
    assert torch.equal(cell(torch.ones(2, 3))[0], cell.step(torch.ones(2, 3), torch.zeros(2, 4)))


def test_a_parameter_of_the_users_own():
    class Leaky(Cell):
        states = ("h",)
        gates = ("content",)

        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            self.rate = nn.Parameter(torch.tensor(0.1))

        def step(self, x, h):
            return h + self.rate * (tanh(self.content(h, x)) - h)

    cell = Leaky(3, 4)
    cell(torch.ones(2, 3))[0].sum().backward()
    assert cell.rate.grad is not None


def test_making_a_cell_draws_nothing_but_its_weights():
    torch.manual_seed(0)
    cells.LSTM(3, 4)
    after = torch.rand(())
    torch.manual_seed(0)
    nn.LSTMCell(3, 4)
    assert torch.equal(after, torch.rand(()))


def test_cells_live_where_they_are_told():
    cell = cells.PeepholeLSTM(3, 4, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in cell.parameters()} == {("meta", torch.float64)}


# --- what is refused -------------------------------------------------------------------------------------------------


def line_of(marker):
    lines = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


def make(**attributes):
    return type("Wrong", (Cell,), {"states": ("h",), "gates": ("content",), **attributes})


def good(self, x, h):
    return tanh(self.content(h, x))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"gates": ("content", "content"), "step": good}, "two parts are called 'content'"),
        ({"diagonals": ("content",), "step": good}, "two parts are called 'content', in `gates` and in `diagonals`"),
        ({"gates": "content", "step": good}, r"`gates` must be a tuple of names such as \(\"h\",\), found 'content'"),
        ({"states": (), "step": good}, "no states"),
        ({"states": ("h", "h"), "step": lambda self, x, h: h}, "two parts|one state twice"),
        ({"gates": ("forward",), "step": good}, "'forward' in `gates` is a name that every cell has already"),
        ({"gates": ("my gate",), "step": good}, "'my gate' in `gates` is not a usable Python name"),
        ({"keeps": {"forget": 1}, "step": good}, "`keeps` names 'forget', which is not among the gates"),
        ({}, r"no step; write `def step\(self, x, h\)`"),
    ],
)
def test_wrong_names_are_refused_when_the_class_is_made(attributes, message):
    with pytest.raises(CellError, match=message):
        make(**attributes)


def test_a_class_statement_is_refused_with_its_file_and_line():
    with pytest.raises(CellError, match=re.escape(f"{__file__}:{line_of('twice')}: Wrong: two parts")):

        class Wrong(Cell):  # twice
            states = ("h",)
            gates = ("a", "a")

            def step(self, x, h):
                return self.a(h, x)


def test_a_step_with_other_states_is_refused():
    with pytest.raises(
        CellError, match=re.escape(r"step takes (self, x, c); with states ('h',) write `def step(self, x, h)`")
    ):
        make(step=lambda self, x, c: c)


def build(step, **attributes):
    return make(step=step, **attributes)(3, 4)


def test_a_state_that_is_not_returned_is_refused():
    def step(self, x, h, c):  # forgetful
        return tanh(self.content(h, x)) + c

    place = re.escape(f"{__file__}:{line_of('forgetful')}")
    with pytest.raises(CellError, match=place + ".* one tensor per state, h, c in this order; it returned 1"):
        build(step, states=("h", "c"))


def test_a_state_of_the_wrong_size_is_refused():
    with pytest.raises(CellError, match=r"state 'h' with shape \[2, 8\] where \[B, 4\]"):
        build(lambda self, x, h: torch.cat([tanh(self.content(h, x)), h], dim=-1))


def test_an_error_in_the_step_is_told_with_its_line():
    def step(self, x, h):
        return tanh(self.content(h, x)) + x  # sizes differ

    place = re.escape(f"{__file__}:{line_of('sizes differ')}")
    with pytest.raises(
        CellError, match=place + r": one step of Wrong with x \[2, 3\], h \[2, 4\] failed at .*RuntimeError"
    ):
        build(step)


def test_a_gate_that_is_never_used_is_refused():
    with pytest.raises(CellError, match="gate 'spare' of Wrong is declared but no returned state depends on all of it"):
        build(good, gates=("content", "spare"))


def test_half_a_gate_that_is_never_used_is_refused():
    with pytest.raises(CellError, match="gate 'content' .*declare it as what is used"):
        build(lambda self, x, h: tanh(self.content.input(x)) + h)


@pytest.mark.parametrize("kind", ["diagonals", "matrices", "norms", "inputs"])
def test_any_other_part_that_is_never_used_is_refused(kind):
    with pytest.raises(CellError, match="spare"):
        build(good, **{kind: ("spare",)})


def test_a_step_that_depends_on_nothing_is_refused():
    with pytest.raises(CellError, match="no returned state depends"):
        build(lambda self, x, h: h)


def test_modules_with_weights_of_their_own_are_refused():
    def init(self, *sizes, **options):
        Cell.__init__(self, *sizes, **options)
        self.extra = nn.Linear(4, 4)

    with pytest.raises(CellError, match="holds no buffers and no modules with weights"):
        build(good, __init__=init)


@pytest.mark.parametrize("sizes", [(0, 4), (3, 0), (3, -1), (3, 2.5)])
def test_sizes_must_be_positive_integers(sizes):
    with pytest.raises(ConfigError, match="must be a positive integer"):
        cells.LSTM(*sizes)


@pytest.mark.parametrize("size", [0, 4, 5])
def test_projections_must_be_smaller(size):
    with pytest.raises(ConfigError, match="proj_size must be between 1 and hidden_size - 1 = 3"):
        cells.ProjectedLSTM(3, 4, proj_size=size)


def test_unknown_names_are_answered_with_close_ones():
    with pytest.raises(UnknownCellError, match="no cell is called 'peephole-lstm'; did you mean peephole_lstm"):
        cells.get("peephole-lstm")


def test_cells_of_other_modules_are_found():
    assert cells.get("gateflow.cells.lstm:LSTM") is cells.LSTM
    assert cells.name_of(cells.LSTM) == "lstm"
    with pytest.raises(UnknownCellError, match="cannot load the cell no_such_module:Cell"):
        cells.get("no_such_module:Cell")
    with pytest.raises(UnknownCellError, match="not a subclass"):
        cells.get("gateflow.errors:CellError")


def test_a_registered_name_is_not_given_twice():
    with pytest.raises(ValueError, match="cell name 'lstm' is taken by LSTM"):
        cells.register("lstm")(make(step=good))
