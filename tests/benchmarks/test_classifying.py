"""Classifiers on our layers and on torch's: both compute the same."""

import json

import pytest
import torch
from benchmarks import classifying
from benchmarks.classifying import Case
from tests.oracle import needs_compiler

from gateflow.tasks.classifier.batches import Batch

SMALL = {
    "words": Case(rows=3, steps=6, read=20, labels=2, tokens=True),
    "digits": Case(rows=3, steps=5, read=4, labels=3, cell="gru", layers=2),
    "elman": Case(rows=3, steps=5, read=4, labels=3, cell="elman", ragged=False),
}


@needs_compiler
def test_every_row_has_its_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(classifying, "CASES", SMALL)
    file = tmp_path / "figures.json"
    classifying.main(["--cases", ",".join(SMALL), "--threads", "1", "--rounds", "1", "--json", str(file)])
    figures = json.loads(file.read_text())["figures"]
    assert [(f["case"], f["threads"]) for f in figures] == [(name, 1) for name in SMALL]
    assert all(min(f["ours"], f["torch_nn"], f["ratio"], f["ratio_of_fastest"]) > 0 for f in figures)
    assert "of the fastest" in capsys.readouterr().out


def test_another_model_has_no_figure_and_an_empty_text_does():
    case = SMALL["words"]
    ours, batch = case.model(), case.batch()
    peer = classifying.on_torch(ours)
    empty = Batch(batch.steps, torch.tensor([6, 0, 4]), batch.targets)
    classifying.judge(ours, peer, empty)
    with torch.no_grad():
        peer.recurrent.get_parameter("weight_hh_l0_reverse").add_(0.1)
    with pytest.raises(AssertionError):
        classifying.judge(ours, peer, empty)
