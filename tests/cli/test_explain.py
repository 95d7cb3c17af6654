"""``gateflow explain``."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from gateflow import cells

USERS = """
import torch
from gateflow import Cell

class Clipped(Cell):
    states = ("h",)
    gates = ("content",)

    def step(self, x, h):
        return torch.clamp(self.content(h, x), -1, 1)

class Foreign(Clipped):
    def step(self, x, h):
        return torch.i0(self.content(h, x))

class Branching(Clipped):
    def step(self, x, h):
        sum = self.content(h, x)
        if sum.mean() > 0:
            return torch.tanh(sum)
        return sum
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users_cells.py"
    path.write_text(USERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        yield path


@pytest.mark.parametrize("name", cells.names())
def test_the_story_agrees_with_the_stages(gateflow, name):
    story, stages = json.loads(gateflow("explain", name, "--json").out), {}
    for stage in ("graph", "plan"):
        stages[stage] = gateflow("explain", name, "--stage", stage).out
    _, train, backward = stages["plan"].split("\n# ")
    assert (train.split(":")[0], backward.split(":")[0]) == ("train", "backward")
    assert len(story["forward"]) == train.count("\npass ") - train.count(", ahead:")
    assert len(story["backward"]) == backward.count("\npass ")
    assert train.count("    saved[") == len(story["kept"])
    assigned = re.findall(r"^    (\w+) = ", stages["graph"], flags=re.MULTILINE)
    assert set(story["kept"]) <= set(assigned)
    assert len(story["hoisted"]) == train.count("\n    hoisted[")
    assert set(story["hoisted"]) <= {*cells.get(name).gates, *cells.get(name).inputs}


def test_the_text_has_equation_path_passes_and_the_way_to_each_stage(gateflow):
    text = gateflow("explain", "full_gru").out
    for part in (
        cells.get("full_gru").equation,
        "update, reset @ state.c.previous; 5 operations",
        "content @ scratch[0]",
        "sigmoid_5, sigmoid_10, tanh_14, besides the states",
        "gradients of weight_hh, weight_ih",
        "gateflow explain full_gru --stage graph|backward|plan|cpp",
    ):
        assert part in text
    assert len(text.splitlines()) < 24, "one screen"


def test_the_docs_show_what_is_printed(gateflow):
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "compiler.md").read_text(encoding="utf-8")
    shown = page.split("$ gateflow explain full_gru\n")[1].split("```")[0]
    assert shown == gateflow("explain", "full_gru").out


def test_what_is_summed_within_the_loop_is_told(gateflow):
    text = gateflow("explain", "indrnn").out
    assert "sums the gradient of recurrent" in text
    assert "memory=" not in text, "it keeps nothing but its state"


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("graph", ("def step(x, h):  # Elman", "weight_hh[0] @ h + bias_hh[0]", "tanh(")),
        ("backward", ("def backward(d_h):", "weight_hh[0].T @ ")),
        ("plan", ("# infer: forward", "# train: forward", "# backward: from the last step", "pass 1 over H")),
        ("cpp", ('#include "recurrence.h"', "namespace stream {", "const V tanh_5 = tanh(add_4);", "size_of_panels")),
    ],
)
def test_each_stage(gateflow, stage, parts):
    text = gateflow("explain", "elman", "--stage", stage).out
    assert "\x1b" not in text
    for part in parts:
        assert part in text
    found = json.loads(gateflow("explain", "elman", "--stage", stage, "--json").out)
    assert found == {"cell": "elman", "stage": stage, "text": text.removesuffix("\n")}


def test_a_terminal_has_colours_and_the_same_text(gateflow, monkeypatch):
    plain = gateflow("explain", "elman", "--stage", "graph").out
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = gateflow("explain", "elman", "--stage", "graph").out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


def test_without_a_compiler_it_tells_the_path_that_is_left(gateflow, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    facts = json.loads(gateflow("explain", "peephole_lstm", "--json").out)
    assert facts["path"] == "reference"
    assert "no-such-compiler" in facts["reason"]


def test_a_cell_of_ones_own_stands_with_its_step(gateflow, users):
    text = gateflow("explain", "users_cells:Clipped").out
    assert "return torch.clamp(self.content(h, x), -1, 1)" in text
    assert "content @ state.h.previous" in text


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("users_cells:Foreign", ("found `i0`", "line 14: return torch.i0(self.content(h, x))", "--operations")),
        ("users_cells:Branching", ("control flow", "line 19: if sum.mean() > 0:")),
        ("lstmm", ("did you mean lstm",)),
        ("users_cells:Missing", ("cannot load the cell users_cells:Missing",)),
    ],
)
@pytest.mark.parametrize("words", [(), ("--stage", "cpp"), ("--json",)], ids=str)
def test_what_cannot_be_compiled_is_told_in_two_lines(gateflow, users, cell, parts, words):
    result = gateflow("explain", cell, *words)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.strip().splitlines()) <= 2
    for part in parts:
        assert part in result.err
    if "users" in cell and "Missing" not in cell:
        assert str(users) in result.err
        assert "reference loop" in result.err


def test_what_a_step_may_call_is_listed(gateflow):
    shown, listed = (
        gateflow("explain", "--operations").out,
        json.loads(gateflow("explain", "--operations", "--json").out),
    )
    assert all(name in shown for names in listed.values() for name in names)
    assert "softmax" in listed["of whole rows (dim=-1, keepdim=True)"]
    assert gateflow("explain").code == 2


def test_an_unknown_stage_is_wrong_use(gateflow):
    assert gateflow("explain", "elman", "--stage", "assembly").code == 2
