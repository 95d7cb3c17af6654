"""What decides a network's answers but no shape of its weights is kept with them, and compared."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from contextlib import nullcontext
from typing import ClassVar

import pytest
import torch
from tests.tasks.translator.pairs import pairs, write
from torch import nn

from gateflow import Cell, Recurrent, cells
from gateflow.cells.answers import answer
from gateflow.errors import RunError
from gateflow.runs.lasting import EQUATIONS, OPTIONS, MadeBy
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks import TASKS, description
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.loading import load_network
from gateflow.tasks.translator.task import TranslatorTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

TRANSFORMER = {"model": "transformer", "hidden_size": 16, "embedding_size": 16, "heads": 4}


def train(run):
    config = run.config()
    return TrainingLoop(TranslatorTask(run, config), config.training, run, join_processes(config.training)).train()


@pytest.fixture
def run(tmp_path):
    data = {"train": write(tmp_path / "train.tsv", pairs(40))}
    training = {"max_updates": 3, "batch_size": 8}
    sections = {"data": data, "tokens": {"tokenizer": "char"}, "model": TRANSFORMER, "training": training}
    return set_up(tmp_path / "run", TranslatorConfig.build(sections))


def edit(run, old, new):
    text = run.config_file.read_text()
    assert old in text
    run.config_file.write_text(text.replace(old, new))


def test_another_number_of_heads_has_the_same_shapes_and_is_refused(run):
    train(run)
    load_network(run)
    edit(run, "heads = 4", "heads = 2")
    told = re.escape("config.toml has heads = 2, and ") + ".*" + re.escape("was made with heads = 4")
    with pytest.raises(RunError, match=told):
        load_network(run)
    run.extend(max_updates=6)
    with pytest.raises(RunError, match=told):
        train(run)


def test_it_is_refused_before_the_first_update_too(run):
    edit(run, "heads = 4", "heads = 2")
    with pytest.raises(RunError, match="was made with heads = 4"):
        train(run)


def test_what_training_alone_asks_for_may_change(run):
    train(run)
    edit(run, "dropout = 0.3", "dropout = 0.1")
    edit(run, "lr = 0.003", "lr = 0.001")
    run.extend(max_updates=5)
    assert train(run).step == 5
    load_network(run)


def test_what_config_toml_becomes_during_a_training_is_not_what_its_weights_were_made_by(run):
    config = run.config()
    loop = TrainingLoop(TranslatorTask(run, config), config.training, run, join_processes(config.training))
    # Between the first update and the validation that keeps the weights.
    step, loop.record_when_due = loop.record_when_due, lambda: (run.config_file.write_text(edited), step())[1]
    edited = run.config_file.read_text().replace("heads = 4", "heads = 2")
    loop.train()
    for file in (run.model_file, run.checkpoint_file):
        assert json.loads(read_tensors(file)[1][OPTIONS])["model.heads"] == 4


def test_weights_of_older_versions_are_read(run):
    train(run)
    for file in (run.model_file, run.checkpoint_file):
        tensors, about = read_tensors(file)
        assert about.pop(OPTIONS)
        assert about.pop(EQUATIONS)
        write_tensors(file, tensors, about)
    load_network(run)
    run.extend(max_updates=4)
    assert train(run).step == 4
    # The next checkpoint has them.
    assert json.loads(read_tensors(run.checkpoint_file)[1][OPTIONS])["model.heads"] == 4


@pytest.mark.parametrize("kept", ["[]", "{", '"heads"', "7", "[" * 100_000])
def test_what_is_no_list_of_options_is_refused(run, kept):
    with pytest.raises(RunError, match="no list"):
        MadeBy(kept).refuse_other_options(run.config(), run.model_file, run.config_file)
    with pytest.raises(RunError, match="no list"):
        MadeBy(equations=kept).refuse_other_equations(nn.Linear(1, 1), run.model_file)


def test_what_a_file_says_steers_no_terminal(run):
    made = json.dumps(run.config().lasting() | {"tokens.tokenizer": "\x1b[2J" * 100})
    with pytest.raises(RunError) as error:
        MadeBy(made).refuse_other_options(run.config(), run.model_file, run.config_file)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


# Of each task: options that leave all shapes alone, and what is computed they do not.
OTHERS = {
    "lm": (
        {"data": {"train": "x"}, "model": {"model": "transformer"}},
        ["model.heads = 8", "model.context = 64", "data.tokenizer = char", "model.softmax_samples = 7"],
    ),
    "classifier": (
        {"data": {"train": "x", "input": "series"}},
        [
            "model.cell = cifg",
            "model.skip = residual",
            "model.read_out = mean",
            "series.scale = series",
            "series.order = pixels",
            "series.missing = cell",
            "data.longest = 7",
            "model.model = transformer",
        ],
    ),
    "tagger": ({"data": {"train": "x"}}, ["model.cell = cifg", "data.scheme = IOB2", "data.columns = 2"]),
    "translator": (
        {"data": {"train": "x"}},
        ["model.attention = dot", "model.decoder_cell = cifg", "model.input_feeding = True", "tokens.tokenizer = char"],
    ),
    "transcriber": (
        {"data": {"train": "x", "input": "sound"}, "sounds": {"rate": 8000}},
        [
            "sounds.hop = 0.02",
            "sounds.frame = 0.05",
            "sounds.bands = 20",
            "sounds.top_db = 80",
            "sounds.centred = False",
            "sounds.rate = 16000",
            "model.reduce = 4",
            "model.front = none",
            "sounds.deltas = True",
        ],
    ),
    "forecaster": ({"data": {"train": "x"}}, ["data.target = x", "data.season = 7", "data.calendar = False"]),
    "agreement": ({}, ["training.seed = 1", "data.distances = far", "model.cell = cifg"]),
}
PICTURES = ({"data": {"train": "x", "input": "image"}}, ["images.height = 40", "images.ink = light"])


def others():
    for task, (options, changes) in [*OTHERS.items(), ("transcriber", PICTURES)]:
        for change in changes:
            yield task, options, change


@pytest.mark.parametrize(("task", "options", "change"), list(others()))
def test_whatever_decides_the_answers_is_refused(tmp_path, task, options, change):
    kind = description(task).part("config")
    made, (name, value) = kind.build(options), change.split(" = ")
    section, option = name.split(".")
    other = kind.build({**options, section: {**options.get(section, {}), option: {"False": False}.get(value, value)}})
    kept = MadeBy(json.dumps(made.lasting()))
    kept.refuse_other_options(made, tmp_path / "model", tmp_path / "config.toml")
    with pytest.raises(RunError, match=rf"\[{section}\] in .* has {option} = .* was made with"):
        kept.refuse_other_options(other, tmp_path / "model", tmp_path / "config.toml")


def test_the_module_of_a_cell_may_move(tmp_path):
    made, moved, other = (
        TranslatorConfig.build({"data": {"train": "x"}, "model": {"cell": cell}})
        for cell in ("my_cells:Mine", "package.cells:Mine", "my_cells:Other")
    )
    kept = MadeBy(json.dumps(made.lasting()))
    kept.refuse_other_options(moved, tmp_path, tmp_path)
    with pytest.raises(RunError, match="has cell = .:Other., and .* cell = .:Mine."):
        kept.refuse_other_options(other, tmp_path, tmp_path)


def test_no_task_is_left_out():
    assert OTHERS.keys() == TASKS.keys()


def test_an_option_that_is_newer_than_the_weights_is_at_its_default(tmp_path):
    made = TranslatorConfig.build({"data": {"train": "x"}})
    older = made.lasting()
    del older["model.attention"]
    kept = MadeBy(json.dumps(older))
    kept.refuse_other_options(made, tmp_path, tmp_path)
    other = TranslatorConfig.build({"data": {"train": "x"}, "model": {"attention": "dot"}})
    with pytest.raises(RunError, match="attention = .dot., and .* attention = .general."):
        kept.refuse_other_options(other, tmp_path, tmp_path)


LEAKY = """
import random
import torch
from gateflow import Cell


class Leaky(Cell):
    states, gates, inputs = ("h",), ("z",), ("c",)

    def step(self, x, h):
        z = self.z(h, x).sigmoid()
        return {answer}
{more}"""
FIRST = "h * z + torch.tanh(self.c(x)) * (1 - z)"


START = """
    def initial_state(self, x):
        return (super().initial_state(x)[0] + 1,)
"""
# The same name is another class's.
ANOTHER = """
class Other(Leaky):
    def step(self, x, h):
        return {answer}

Leaky = Other
"""


def with_cell(folder, answer, more=""):
    """Module of a cell whose step gives this."""
    (folder / "leaky.py").write_text(LEAKY.format(answer=answer, more=more))
    sys.modules.pop("leaky", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("written", "is_other"),
    [("torch.lerp(self.c(x).tanh(), h, z)", False), ("h * (1 - z) + torch.tanh(self.c(x)) * z", True)],
    ids=["in other words", "of another meaning"],
)
def test_a_cell_of_ones_own_that_has_become_another_is_refused(tmp_path, monkeypatch, written, is_other):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("GATEFLOW_TRUST", "leaky")
    with_cell(tmp_path, FIRST)
    data = {"train": write(tmp_path / "train.tsv", pairs(40))}
    model = {"cell": "leaky:Leaky", "hidden_size": 8, "embedding_size": 8}
    training = {"max_updates": 2, "batch_size": 8}
    sections = {"data": data, "tokens": {"tokenizer": "char"}, "model": model, "training": training}
    run = set_up(tmp_path / "run", TranslatorConfig.build(sections))
    train(run)
    with_cell(tmp_path, written)
    run.extend(max_updates=3)
    told = pytest.raises(RunError, match="was made by other equations of Leaky than it has now")
    for read in (load_network, train):
        with told if is_other else nullcontext():
            read(run)


@pytest.mark.parametrize(
    ("before", "after", "is_other"),
    [
        ((FIRST,), (FIRST, START), True),
        ((FIRST, START), (FIRST, START), False),
        ((FIRST,), (FIRST, ANOTHER.format(answer="(self.z(h, x) * self.c(x)).tanh()")), True),
        ((FIRST,), (FIRST, ANOTHER.format(answer="super().step(x, h)")), False),
        ((FIRST,), (FIRST + " + 0.1 * torch.randn_like(h)",), True),
        ((FIRST,), (FIRST + " @ torch.eye(h.shape[-1])",), True),
        ((FIRST + " + 0.1 * torch.randn_like(h)",), (FIRST,), False),
        ((FIRST + " + random.random()",), (FIRST + " + random.random()",), False),
        ((FIRST + " * (torch.randn_like(h) if self.training else 1)",), ("z * " + FIRST,), True),
        ((FIRST + " * (1 + self.training)",), (FIRST,), False),
    ],
    ids=[
        "another start",
        "the same start",
        "another class of the name",
        "the same under another name",
        "draws now",
        "works on float32 alone now",
        "drew then",
        "draws by another generator",
        "drew while it was trained",
        "another factor in training alone",
    ],
)
def test_whatever_a_cell_answers_otherwise_is_refused(tmp_path, monkeypatch, before, after, is_other):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    layers = []
    for written in (before, after):
        with_cell(tmp_path, *written)
        layers.append(Recurrent(importlib.import_module("leaky").Leaky, 3, 4))
    kept = MadeBy.of(TranslatorConfig.build({"data": {"train": "x"}}), layers[0])
    assert layers[0].cells[0].training, "as it was"
    with pytest.raises(RunError, match="other equations of .?Leaky") if is_other else nullcontext():
        kept.refuse_other_equations(layers[1].eval(), tmp_path)


def test_two_classes_of_one_name_are_both_asked(tmp_path):
    kinds = [type("Mine", (Leaky,), {"slope": slope}) for slope in (0.5, 0.7, 0.9)]
    config = TranslatorConfig.build({"data": {"train": "x"}})
    first, second = (nn.ModuleList(Recurrent(kind, 3, 4) for kind in (kinds[0], other)) for other in kinds[1:])
    kept = MadeBy.of(config, first)
    assert len(json.loads(kept.equations or "")) == 2
    kept.refuse_other_equations(first, tmp_path)
    with pytest.raises(RunError, match="other equations of Mine 2 than"):
        kept.refuse_other_equations(second, tmp_path)


class Leaky(Cell):
    """By a slope."""

    states, gates = ("h",), ("z",)
    slope: ClassVar[float] = 1.0

    def step(self, x, h):
        return self.slope * torch.tanh(self.z(h, x))


def test_equations_are_known_again_and_told_apart():
    """Of all cells but one, which has no peepholes and is an LSTM; whatever the weights, their type and device."""
    answers = {name: answer(cells.get(name)(5, 7)) for name in cells.names()}
    assert None not in answers.values()
    alike = Counter(answers.values())
    assert [sorted(name for name in answers if answers[name] == found) for found, n in alike.items() if n > 1] == [
        ["lstm", "np"]
    ]
    assert answer(cells.get("gru")(5, 7, dtype=torch.bfloat16)) == answers["gru"]
    with torch.device("meta"):
        assert answer(cells.get("gru")(5, 7)) == answers["gru"]


class Noisy(Cell):
    """Draws at each step."""

    states, gates = ("h",), ("z",)

    def step(self, x, h):
        return torch.tanh(self.z(h, x)) + torch.randn_like(h)


class Picky(Cell):
    """Of one type alone."""

    states, gates = ("h",), ("z",)

    def step(self, x, h):
        return self.z(h, x) @ torch.eye(h.shape[-1], dtype=torch.float32)


@pytest.mark.parametrize("cell", [Noisy, Picky])
def test_a_cell_that_cannot_be_asked_is_believed(tmp_path, cell):
    before = torch.get_rng_state()
    layer = Recurrent(cell, 3, 4)
    state = torch.get_rng_state()
    assert answer(layer.cells[0]) is None
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the caller's generator"
    assert not torch.equal(before, state)
    assert MadeBy(equations="{}").refuse_other_equations(layer, tmp_path) is None


def test_the_same_equations_under_torchs_layers_and_by_another_order_of_sums():
    kept = MadeBy.of(TranslatorConfig.build({"data": {"train": "x"}}), Recurrent("lstm", 3, 4))
    kept.refuse_other_equations(nn.LSTM(3, 4), "file")
    (found,) = json.loads(kept.equations or "").values()
    MadeBy(equations=json.dumps({"LSTM": [x * (1 + 1e-13) for x in found]})).refuse_other_equations(
        nn.LSTM(3, 4), "file"
    )
    for others in ([x * (1 + 1e-6) for x in found], found[:-1], "many", [None] * len(found)):
        with pytest.raises(RunError, match="other equations of LSTM"):
            MadeBy(equations=json.dumps({"LSTM": others})).refuse_other_equations(nn.LSTM(3, 4), "file")


def test_equal_weights_are_equal_files(tmp_path, run):
    """The order of a file's metadata is drawn by lot where nobody sorts it, in each process anew."""
    texts = {f"key{i}": "x" for i in range(12)}
    write_tensors(tmp_path / "file", read_tensors(run.checkpoint_file)[0], texts)
    header = (tmp_path / "file").read_bytes()[8:]
    assert [int(n) for n in re.findall(rb"key(\d+)", header)] == sorted(range(12), key=lambda i: f"key{i}")
