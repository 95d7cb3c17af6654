"""Taggers on our layers and on torch's: both compute the same, and every row has its figures."""

import json

import pytest
import torch
from benchmarks import tagging
from tests.oracle import needs_compiler

SMALL = {"LEXICON": 50, "BATCHES": 1, "ROWS": 3, "LONGEST": 7, "SENTENCES": 70, "WORDS": 4, "UNITS": 8}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(tagging, name, value)


@needs_compiler
def test_every_row_has_its_figures(tmp_path, capsys):
    tagging.main(["--hidden", "4,6", "--rounds", "1", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    kinds = [(f["what"], f["hidden"], f["crf"]) for f in found["figures"]]
    trained = [("training", hidden, crf) for hidden in (4, 6) for crf in (False, True)]
    assert kinds == [*trained, ("prediction", 8, False), ("prediction", 8, True)]
    assert all(min(f["ours"], f["torch_nn"]) > 0 for f in found["figures"])
    assert all(0 < f["share"] < 1 for f in found["figures"] if f["what"] == "training" and f["crf"])
    assert "best sequences" in found["prediction"]
    assert "training" in capsys.readouterr().out


def test_another_model_has_no_figure():
    text = tagging.Text()
    ours, peer = text.pair(6, crf=True, dropout=0.0)
    tagging.judge(ours, peer, text.batch())
    with torch.no_grad():
        peer.recurrent.get_parameter("weight_hh_l0_reverse").add_(0.1)
    with pytest.raises(AssertionError):
        tagging.judge(ours, peer, text.batch())
