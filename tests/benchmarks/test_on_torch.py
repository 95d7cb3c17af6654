"""A run of any task reaches the same on our layers and on torch's, from the same weights and batches."""

import json
from pathlib import Path

import pytest
from benchmarks import on_torch, updates
from benchmarks.torch_layers import on_torch as on_torch_layers
from tests.oracle import needs_compiler
from tests.tasks.classifier import conftest as classifier
from tests.tasks.classifier.texts import opinions
from tests.tasks.classifier.texts import write as write_texts
from tests.tasks.transcriber import conftest as transcriber
from tests.tasks.transcriber.lines import texts, write_images
from tests.tasks.translator import conftest as translator
from tests.tasks.translator.pairs import pairs
from tests.tasks.translator.pairs import write as write_pairs

from gateflow.tasks.classifier.data import set_up


def figures(run: Path, folder: Path, *words: str) -> dict[str, list[dict[str, float]]]:
    """What is told of both, by the name of the layers."""
    on_torch.main([str(run), "--json", str(folder / "found.json"), *words])
    return json.loads((folder / "found.json").read_text())


def test_a_classifier(tmp_path, capsys):
    data = {"train": write_texts(tmp_path / "train.tsv", list(dict.fromkeys(opinions(120))))}
    run = set_up(tmp_path / "run", classifier.config_of(data, training={"epochs": 2}))
    found = figures(run.path, tmp_path, "--seeds", "0,1")
    assert [row["accuracy"] for row in found["gateflow"]] == [row["accuracy"] for row in found["torch"]]
    assert {"macro.f1", "updates", "targets a second"} <= set(found["torch"][0])
    assert "±" in capsys.readouterr().out


@pytest.mark.parametrize("model", [{"attention": "general"}, {"input_feeding": True, "cell": "gru"}], ids=str)
def test_a_translator_whose_decoder_begins_from_states(tmp_path, model):
    rows = pairs(80)
    data = {
        "train": write_pairs(tmp_path / "train.tsv", rows[:60]),
        "valid": write_pairs(tmp_path / "v.tsv", rows[60:]),
    }
    run = translator.train(tmp_path / "run", data, model, {"epochs": 3})
    found = figures(run.path, tmp_path, "--seeds", "0", "--options", "beam=2")
    (ours,), (theirs,) = found["gateflow"], found["torch"]
    assert ours["error_rate"] == pytest.approx(theirs["error_rate"], abs=0.02)
    assert {"exact_match", "updates"} <= set(ours)
    assert not any(name.startswith("by_length") for name in ours)


def test_a_transcriber(tmp_path):
    lines, others = write_images(tmp_path / "train", texts(24)), write_images(tmp_path / "valid", texts(8, 1))
    run = transcriber.train(tmp_path / "run", train=lines, valid=others, height=24, epochs=8)
    found = figures(run.path, tmp_path, "--seeds", "0")
    (ours,), (theirs,) = found["gateflow"], found["torch"]
    assert ours["cer"] == pytest.approx(theirs["cer"], abs=0.05)
    assert {"wer", "targets a second"} <= set(ours)


@needs_compiler
def test_updates_of_both_are_timed_if_they_compute_the_same(tmp_path, monkeypatch, capsys):
    data = {"train": write_pairs(tmp_path / "train.tsv", pairs(40))}
    run = translator.train(tmp_path / "run", data, training={"epochs": 1})
    words = [str(run.path), "--batches", "1", "--rounds", "1", "--json", str(tmp_path / "found.json")]
    updates.main(words)
    (figure,) = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert figure["target"] == "tokens"
    assert min(figure["ours"], figure["torch_nn"], figure["ratio"], figure["ratio_of_fastest"]) > 0
    assert "tokens" in capsys.readouterr().out

    def other(model):
        peer = on_torch_layers(model)
        peer.encoder.recurrent.get_parameter("weight_hh_l0_reverse").data.add_(0.1)
        return peer

    monkeypatch.setattr(updates, "on_torch", other)
    with pytest.raises(AssertionError):
        updates.main(words)
