"""Classifiers on our layers and on torch's: both compute the same, and a run reaches the same on either."""

import json

import pytest
import torch
from benchmarks import classifying, on_torch
from benchmarks.classifying import Case
from tests.oracle import needs_compiler
from tests.tasks.classifier.conftest import config_of
from tests.tasks.classifier.texts import opinions, write

from gateflow.tasks.classifier.batches import Batch
from gateflow.tasks.classifier.data import set_up

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


def test_a_run_reaches_the_same_on_either(tmp_path, capsys):
    data = {"train": write(tmp_path / "train.tsv", list(dict.fromkeys(opinions(120))))}
    run = set_up(tmp_path / "run", config_of(data, training={"epochs": 2}))
    on_torch.main([str(run.path), "--seeds", "0,1", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["accuracy"] for row in found["gateflow"]] == [row["accuracy"] for row in found["torch"]]
    assert {"macro.f1", "updates", "targets a second"} <= set(found["torch"][0])
    assert "±" in capsys.readouterr().out
