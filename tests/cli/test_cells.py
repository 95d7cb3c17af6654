"""``gateflow cells``."""

import json

import pytest

from gateflow import Recurrent, cells
from gateflow.cli.cells import in_short


def test_every_cell_has_a_line_with_its_parameters(gateflow):
    lines = gateflow("cells").out.splitlines()
    assert len(lines) == 2 + len(cells.names())
    (full_gru,) = (line for line in lines if line.startswith("full_gru "))
    assert full_gru.split() == ["full_gru", "c", "update,", "reset,", "content", "99,072", "Cho", "et", "al.", "2014"]


@pytest.mark.parametrize("name", cells.names())
def test_one_cell_shows_equations_source_and_paper(gateflow, name):
    text = gateflow("cells", name).out
    cell = cells.get(name)
    for part in (cell.equation.strip().splitlines()[0].strip(), "def step(self, x", cell.citation.split(")")[0]):
        assert part in text


def test_json_has_all_facts(gateflow):
    facts = {fact["name"]: fact for fact in json.loads(gateflow("cells", "--json").out)}
    assert list(facts) == cells.names()
    weights = Recurrent("lstm", 128, 128).parameters()
    assert facts["lstm"]["parameters"] == sum(weight.numel() for weight in weights)
    assert json.loads(gateflow("cells", "gru", "--json").out) == facts["gru"]


def test_an_unknown_cell_is_wrong_use_and_names_the_close_one(gateflow):
    result = gateflow("cells", "peepholelstm")
    assert result.code == 2
    assert "did you mean peephole_lstm" in result.err


def test_citations_in_short():
    assert in_short("Elman (1990). Finding structure in time.") == "Elman 1990"
