"""``gateflow diagnose``: runs, models that are not ours, and whatever else is put in."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

MODELS = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 8), nn.Linear(8, 2)

    def forward(self, x, lengths=None):
        if lengths is not None:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y = self.rnn(x)[0]
        return self.out(y.data if lengths is not None else y)

def plain():
    torch.manual_seed(0)
    return Tagger()

def anew():
    return nn.LSTM(3, 8, num_layers=2, dropout=0.5)

def last_step():
    return plain(), lambda model, batch: (model(batch["x"])[-1] - batch["y"]).square().mean()

shallow = nn.Linear(3, 2)
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module and a batch in it, which the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_models.py").write_text(MODELS, encoding="utf-8")
    torch.manual_seed(0)
    save_file({"x": torch.randn(30, 4, 3), "lengths": torch.tensor([30, 8, 20, 3])}, tmp_path / "ragged.safetensors")
    save_file({"x": torch.randn(30, 4, 3), "y": torch.randn(4, 2)}, tmp_path / "labelled.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 4, 3)).astype(np.float32))
    return tmp_path


def test_a_run_in_the_terminal(gateflow, trained):
    result = gateflow("diagnose", trained)
    assert result.code == 0, result.err
    for words in ("Findings", "Gradient horizon", "Gates over", "Lyapunov", "Equation (1)", "What if"):
        assert words in result.out
    assert any(bar in result.out for bar in "▁▂▃▄▅▆▇█")
    assert "--out flow.html" in result.err


def test_a_run_as_a_page_with_its_tokens_window_and_clipping(gateflow, trained, corpus):
    out = trained / "flow.html"
    result = gateflow("diagnose", trained, "--data", corpus, "--needed-lag", 30, "--out", out, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["context"]["window"], found["context"]["needed_lag"]) == (5, 30)
    assert found["context"]["tokens"][:3] == ["the", "cat", "sat"]
    assert "window-too-short" in {finding["name"] for finding in found["findings"]}
    assert found["context"]["clip_history"][0]["step"] > 0
    watched, *means = found["context"]["history"]
    assert (watched["step"], watched["kind"], "loss" in watched) == (1, "flow", False)
    assert watched["horizon"] >= 0
    assert all(record["loss"] > 0 for record in means)
    page = out.read_text(encoding="utf-8")
    assert "the task needs 30" in page
    assert "What clipping did" in page


def test_a_file_is_replaced_only_when_asked(gateflow, trained, tmp_path):
    out = tmp_path / "flow.html"
    out.write_text("mine", encoding="utf-8")
    result = gateflow("diagnose", trained, "--out", out)
    assert (result.code, out.read_text(encoding="utf-8")) == (2, "mine")
    assert "replace it with --force" in result.err
    assert gateflow("diagnose", trained, "--out", out, "--force").code == 0
    assert "<!doctype html>" in out.read_text(encoding="utf-8")


def test_lengths_reach_the_model(gateflow, folder):
    found = _json(gateflow, "their_models:plain", "ragged.safetensors")
    (layer,) = found["reach"]["layers"]
    assert layer["matrix"][25][25] > 0
    assert found["context"]["model"] == "Tagger"


def test_one_array_is_the_first_argument(gateflow, folder):
    assert len(_json(gateflow, "their_models:plain", "x.npy")["reach"]["layers"][0]["targets"]) == 30


def test_a_loss_of_the_factory_gets_every_tensor(gateflow, folder):
    assert _json(gateflow, "their_models:last_step", "labelled.safetensors")["reach"]["layers"][0]["targets"] == [29]


def test_a_model_in_a_file_with_weights_of_its_own_or_of_a_seed(gateflow, folder):
    """As somebody else's script has it: no package, dropout within torch's layer, no `.eval()`."""
    loss = {}
    torch.manual_seed(5)
    save_file(dict(torch.nn.LSTM(3, 8, num_layers=2).state_dict()), folder / "trained.safetensors")
    for name, words in {
        "seed 0": (),
        "again": ("--eval",),
        "seed 5": ("--seed", 5),
        "trained": ("--weights", "trained.safetensors"),
    }.items():
        result = gateflow("diagnose", "--model", folder / "their_models.py:anew", "--data", "x.npy", "--json", *words)
        assert result.code == 0, result.err
        assert ("the weights are those that" in result.err) == (name != "trained")
        assert ("without the dropout between the layers of LSTM (0.5)" in result.err) == (name != "again")
        loss[name] = json.loads(result.out)["context"]["loss"]
    assert loss["seed 0"] == pytest.approx(loss["again"])
    assert loss["seed 5"] == pytest.approx(loss["trained"])
    assert loss["seed 0"] != pytest.approx(loss["seed 5"])


def _json(gateflow, model, data):
    result = gateflow("diagnose", "--model", model, "--data", data, "--json")
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ((), 2, "either the folder of a run or --model"),
        (("nowhere",), 1, "there is no run at nowhere"),
        (("--model", "their_models:plain"), 2, "--model needs --data"),
        (("--model", "plain", "--data", "x.npy"), 2, "write it as my_model.py:build, or as package.module"),
        (("--model", "none.py:plain", "--data", "x.npy"), 2, "there is no file none.py"),
        (("--model", "their_models:plain", "--data", "x.npy", "--weights", "batch.pt"), 2, "this is a pickle"),
        (("--model", "their_models:plain", "--data", "x.npy", "--weights", "ragged.safetensors"), 1, "ragged"),
        (("--model", "their_models:plain", "--data", "x.npy", "--device", "moon"), 2, "--device moon cannot be used"),
        (("nowhere", "--eval"), 2, "--eval belongs to --model"),
        (("--model", "no_such:plain", "--data", "x.npy"), 2, "No module named 'no_such'"),
        (("--model", "their_models:plan", "--data", "x.npy"), 2, "has no attribute 'plan'"),
        (("--model", "their_models:number", "--data", "x.npy"), 2, "a torch.nn.Module is needed"),
        (("--model", "their_models:shallow", "--data", "x.npy"), 1, "no recurrent layer of Linear ran"),
        (("--model", "their_models:plain", "--data", "labelled.safetensors"), 1, "the data hold y, and Tagger takes x"),
        (("--model", "their_models:plain", "--data", "none.npy"), 1, "none.npy does not exist"),
        (("--model", "their_models:plain", "--data", "batch.pt"), 1, "this is a pickle"),
        (("--model", "their_models:plain", "--data", "broken.npy"), 1, "is damaged"),
        (("--model", "their_models:plain", "--data", "broken.safetensors"), 1, "is damaged"),
        (("--model", "their_models:plain", "--data", "x.npy", "--out", "no/flow.html"), 2, "there is no such folder"),
    ],
)
def test_bad_input_is_told_in_words(gateflow, folder, words, code, part):
    for name in ("batch.pt", "broken.npy", "broken.safetensors"):
        (folder / name).write_bytes(b"not what it says")
    result = gateflow("diagnose", *words)
    assert (result.code, result.out) == (code, "")
    assert part in result.err
    assert len(result.err.strip().splitlines()) <= 2
