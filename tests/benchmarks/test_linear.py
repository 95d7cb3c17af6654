"""Linear models beside a classifier: they learn, by its very parts and tokens."""

import json
import sys

import pytest
from benchmarks import linear
from tests.tasks.classifier.texts import opinions, write

from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import read_parts
from gateflow.tasks.classifier.inputs.texts import TextInput


@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_they_learn_and_say_how_well(tmp_path, capsys, monkeypatch, tokenizer):
    plain = [(text, label) for text, label in dict.fromkeys(opinions(150)) if " not " not in f" {text} "]
    file = write(tmp_path / "a", plain)
    typed = ["--data", file, "--folds", "2", "--tokenizer", tokenizer, "--json", tmp_path / "figures.json"]
    monkeypatch.setattr(sys, "argv", ["linear", *map(str, typed)])
    linear.main()
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found.keys() == linear.MODELS.keys()
    assert all(row["accuracy"] > 0.8 for rows in found.values() for row in rows)
    assert "NBSVM" in capsys.readouterr().out


def test_several_labels_and_the_same_parts(tmp_path):
    rows = [(text, f"{label}{k % 2}") for k, (text, label) in enumerate(dict.fromkeys(opinions(120)))]
    rows = [(f"{text} {'odd' if label[-1] == '1' else 'even'}", label) for text, label in rows]
    config = ClassifierConfig.build({"data": {"train": write(tmp_path / "a", rows), "input": "text"}})
    ((train, valid, test),) = linear.cuts(config, None)
    assert valid.texts == test.texts == [text.text for text in read_parts(config, TextInput(), {}).valid]
    assert linear.measured("NBSVM", "word", train, valid, test).accuracy > 0.6
