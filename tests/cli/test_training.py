"""``train lm`` and ``resume``: what they leave, what they say, and that a stopped run goes on exactly."""

import json
import math
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.cli.conftest import SMALL

from gateflow.cli.progress import TrainingDisplay
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.run import LanguageModelRun as Run
from gateflow.training.metrics import MetricsLog

TIMES = ("seconds", "tokens_per_second")


def metrics(path):
    """All but what the monitor measures when there is time."""
    records = [record for record in MetricsLog(Run(path).metrics_file).read() if record["kind"] != "flow"]
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def test_a_run_is_trained_and_says_what_comes_next(gateflow, corpus, tmp_path):
    result = gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", *SMALL, "--log-every=10")
    assert result.code == 0
    assert result.out == ""
    lines = result.err.splitlines()
    assert re.match(r"epoch 0.37 loss .* perplexity .* horizon \d of 4 [\d,]+ tokens/s", lines[0])
    assert " tokens/s, 0:0" in lines[0]
    assert any(line.startswith("epoch 1.00 validation loss ") for line in lines)
    assert lines[-2].startswith("Trained 54 updates in 0:0")
    assert (
        lines[-1]
        == f"Next: gateflow generate {tmp_path}/run --prompt '...'    gateflow evaluate {tmp_path}/run --data FILE"
    )
    names = {entry.name for entry in (tmp_path / "run").iterdir()}
    assert names == {
        "config.toml",
        "tokenizer.json",
        "tokens",
        "SHA256SUMS",
        "model.safetensors",
        "metrics.jsonl",
        "checkpoint",
        "lock",
    }
    records = metrics(tmp_path / "run")
    assert [record["step"] for record in records if record["kind"] == "valid"] == [27, 54]
    first, last = (record["perplexity"] for record in records if record["kind"] == "valid")
    assert last < first


def test_without_the_monitor_it_is_the_same_run(gateflow, corpus, tmp_path):
    for name in ("monitor", "no-monitor"):
        words = ("--data", corpus, "--out", tmp_path / name, *SMALL, "--log-every=10", "--dropout=0.3", f"--{name}")
        assert gateflow("train", "lm", *words).code == 0
    assert metrics(tmp_path / "monitor") == metrics(tmp_path / "no-monitor")
    (found,) = (r for r in MetricsLog(Run(tmp_path / "monitor").metrics_file).read() if r["kind"] == "flow")
    assert found["step"] == 1
    assert found["horizon"] == found["horizon/recurrent.l0"] > 0


def test_json_is_one_object_on_stdout(gateflow, corpus, tmp_path):
    result = gateflow("train", "lm", "--data", corpus, "--valid", corpus, "--out", tmp_path / "run", *SMALL, "--json")
    summary = json.loads(result.out)
    assert summary["updates"] == 56
    assert summary["interrupted"] is False
    assert 1 < summary["validation_perplexity"] < 14
    again = json.loads(gateflow("resume", tmp_path / "run", "--json").out)
    assert again == summary


def test_options_of_a_file_are_overridden_by_those_typed(gateflow, corpus, tmp_path):
    (tmp_path / "mine.toml").write_text(f'[data]\ntrain = "{corpus}"\n[model]\nlayers = 3\nhidden_size = 5\n')
    words = ("--config", tmp_path / "mine.toml", "--out", tmp_path / "run", *SMALL, "--tokenizer=char", "--no-tied")
    assert gateflow("train", "lm", *words).code == 0
    config = Run(tmp_path / "run").config()
    assert (config.model.layers, config.model.hidden_size, config.model.tied) == (1, 8, False)
    assert (config.data.tokenizer, config.data.train) == ("char", corpus)


@pytest.mark.parametrize(
    "options",
    [
        ("--cell=gru", "--init=orthogonal", "--skip=residual"),
        ("--cell=lstm", "--init=chrono:60", "--skip=highway", "--layers=2", "--weight-dropout=0.2"),
        ("--tokenizer=bpe", "--vocab-size=270", "--candidates=9", "--optimizer=sgd", "--lr=1", "--clip=auto"),
        ("--precision=bf16", "--accumulate=2", "--validate-every=7", "--schedule=cosine"),
        ("--cell=full_gru", "--embedding-size=5", "--max-updates=9"),
    ],
)
def test_every_kind_of_option_trains(gateflow, corpus, tmp_path, options):
    result = gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", *SMALL, *options)
    assert result.code == 0, result.err
    assert metrics(tmp_path / "run")[-1]["loss"] < 6


def test_force_replaces_a_run(gateflow, trained, corpus):
    assert gateflow("train", "lm", "--data", corpus, "--out", trained, *SMALL, "--force", "--layers=2").code == 0
    assert Run(trained).config().model.layers == 2


def test_ctrl_c_saves_says_how_to_go_on_and_leaves_with_130(gateflow, corpus, tmp_path, monkeypatch):
    words = ("train", "lm", "--data", corpus, *SMALL, "--dropout=0.3", "--log-every=7")
    gateflow(*words, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "step", lambda _, p, __: p.step == 30 and signal.raise_signal(signal.SIGINT))
        stopped = gateflow(*words, "--out", tmp_path / "run")
    assert stopped.code == 130
    assert stopped.err.endswith(f"Stopped after update 31 and saved. Go on with: gateflow resume {tmp_path / 'run'}\n")
    assert gateflow("generate", tmp_path / "run", "--prompt", "the").code == 0
    assert gateflow("resume", tmp_path / "run").code == 0
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert Run(tmp_path / "run").model_file.read_bytes() == Run(tmp_path / "whole").model_file.read_bytes()


@pytest.mark.filterwarnings("always::gateflow.errors.DataWarning")
def test_a_model_of_characters_is_judged_in_bits_and_names_what_it_has_never_seen(gateflow, corpus, tmp_path):
    run = tmp_path / "run"
    assert gateflow("train", "lm", "--data", corpus, "--out", run, *SMALL, "--tokenizer=char").code == 0
    found = json.loads(gateflow("evaluate", run, "--data", corpus, "--json").out)
    assert found["bits_per_character"] == pytest.approx(math.log2(found["perplexity"]))
    told = gateflow("evaluate", run, "--data", corpus).out
    assert f"bits per character    {found['bits_per_character']:.3f}" in told
    told = gateflow("generate", run, "--prompt", "the \uacf0 t\u00df", "--length", "3").err
    assert "the run has never seen '\uacf0', '\u00df' and reads <unk> in their places" in told
    assert "never seen" not in gateflow("generate", run, "--prompt", "the", "--length", "3").err


def test_a_finished_run_says_so_and_goes_beyond_its_end_if_asked(gateflow, corpus, tmp_path):
    run = tmp_path / "a run"
    assert gateflow("train", "lm", "--data", corpus, "--out", run, *SMALL, "--epochs=2").code == 0
    before = metrics(run)
    again = gateflow("resume", run)
    assert f"{run} had reached its end before: " in again.err
    assert f"To go beyond it: gateflow resume '{run}' --epochs 4" in again.err
    assert metrics(run) == before
    assert gateflow("resume", run, "--epochs=3").code == 0
    assert Run(run).config().training.epochs == 3
    assert [record["epoch"] for record in metrics(run) if record["kind"] == "valid"] == [1.0, 2.0, 3.0]
    assert metrics(run)[: len(before)] == before
    for options, message in ((["--epochs=3"], "goes to 3 already"), (["--max-updates=9"], "has no such limit")):
        refused = gateflow("resume", run, *options)
        assert refused.code == 2
        assert message in refused.err


def test_killed_it_goes_on_as_if_nothing_had_happened(gateflow, corpus, tmp_path):
    words = ["train", "lm", "--data", str(corpus), *SMALL, "--epochs=15", "--log-every=10", "--checkpoint-every=70"]
    command = [sys.executable, "-m", "gateflow", *words, "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**__import__("os").environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        while process.poll() is None and len(MetricsLog(Run(tmp_path / "run").metrics_file).read()) < 12:
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert gateflow("resume", tmp_path / "run").code == 0
    gateflow(*words, "--out", tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_the_configuration_of_a_run_says_everything(trained, corpus):
    text = Run(trained).config_file.read_text()
    assert 'cell = "lstm"' in text
    assert LanguageModelConfig.read(Run(trained).config_file).data.train == corpus


def test_the_perplexity_of_a_model_that_has_diverged_is_short(gateflow, trained, corpus):
    tensors, metadata = read_tensors(Run(trained).model_file)
    tensors["bias"][0] = 1e6
    write_tensors(Run(trained).model_file, tensors, metadata)
    first = gateflow("evaluate", trained, "--data", corpus).out.splitlines()[0]
    assert re.fullmatch(r"perplexity per token  1.0e\+304   \(279 tokens\)", first), first
