"""The agreement task as a run: trained, stopped, evaluated, diagnosed; and what the study keeps."""

import json

import pytest
import torch
from tests.cli.conftest import gateflow  # noqa: F401  (a fixture)

from gateflow.data.agreement import split
from gateflow.studies.agreement_training import AgreementBudget, Entry, train_one
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.inference import load_model
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.agreement.task import AgreementTask, sentences_of, unseen_sentences
from gateflow.training.checkpoint import Checkpoint
from gateflow.training.metrics import MetricsLog

SMALL = ("--sentences=200", "--tested=60", "--hidden-size=8", "--batch-size=8", "--log-every=5", "--no-monitor")
TIMES = ("seconds", "sentences_per_second")


def records(path):
    return [{n: v for n, v in r.items() if n not in TIMES} for r in MetricsLog(path / "metrics.jsonl").read()]


def test_a_run_stopped_midway_goes_on_to_the_same_end(gateflow, tmp_path):  # noqa: F811
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert gateflow("train", "agreement", "--out", whole, *SMALL).code == 0
    assert gateflow("train", "agreement", "--out", parts, *SMALL, "--max-updates=10").code == 0
    file = AgreementRun(parts).config_file
    file.write_text(file.read_text().replace("max_updates = 10\n", ""))
    assert gateflow("resume", parts).code == 0
    assert records(whole) == [r for r in records(parts) if (r["kind"], r["step"]) != ("valid", 10)]
    assert Checkpoint.read(AgreementRun(parts).checkpoint_file).progress.step == 25
    table = gateflow("evaluate", whole, "--sentences", 60).out
    assert "41 to 60 words" in table
    assert "all together" in table
    report = json.loads(gateflow("diagnose", whole, "--json").out)
    assert report["context"]["needed_lag"] == 60


def test_what_is_validated_is_what_evaluate_says(gateflow, tmp_path):  # noqa: F811
    assert gateflow("train", "agreement", "--out", tmp_path / "run", *SMALL).code == 0
    (valid,) = [r for r in records(tmp_path / "run") if r["kind"] == "valid"]
    rows = json.loads(gateflow("evaluate", tmp_path / "run", "--sentences", 60, "--json").out)
    assert rows[-1] == {"distance": "all together", "right": pytest.approx(valid["accuracy"]), "sentences": 60}


def test_a_run_with_few_sentences_is_evaluated_on_all_of_them(gateflow, tmp_path):  # noqa: F811
    assert gateflow("train", "agreement", "--out", tmp_path / "run", *SMALL, "--max-updates=1").code == 0
    assert json.loads(gateflow("evaluate", tmp_path / "run", "--json").out)[-1]["sentences"] == 60


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("evaluate", "--sentences", 61), "--sentences 61: the run has 60"),
        (("evaluate", "--data", "x"), "is no option for"),
        (("diagnose", "--data", "x"), "come from the grammar"),
        (("generate", "--prompt", "the"), "has no verb generate"),
    ],
)
def test_what_makes_no_sense_is_refused(gateflow, tmp_path, words, part):  # noqa: F811
    assert gateflow("train", "agreement", "--out", tmp_path / "run", *SMALL, "--max-updates=1").code == 0
    result = gateflow(words[0], tmp_path / "run", *words[1:])
    assert (result.code, result.out) == (2, "")
    assert part in result.err


def test_sentences_to_test_on_are_drawn_before_those_to_learn_from():
    config = AgreementConfig.build({"data": {"sentences": 50, "tested": 20}, "training": {"seed": 3}})
    assert unseen_sentences(config, 7) == sentences_of(config)[1][:7]
    assert sentences_of(config)[0] == split(50, 20, 3)[0]


def test_a_training_of_the_study_that_is_kept_is_a_run_of_the_task(gateflow, tmp_path):  # noqa: F811
    path = tmp_path / "runs" / "gru"
    result = train_one(Entry("gru", "far", 1, AgreementBudget(updates=60, hidden_size=8), keep=path))
    run = AgreementRun.open(path)
    assert (run.task(), run.config().data.distances, run.config().training.seed) == ("agreement", "far", 1)
    rows = json.loads(gateflow("evaluate", path, "--json").out)
    assert [row["right"] for row in rows[:-1]] == result.accuracy
    assert [record["step"] for record in records(path)] == [50, 60]
    assert "had reached its end before: 60 updates" in gateflow("resume", path).err
    weights = Checkpoint.read(run.checkpoint_file).named("model")
    assert all(torch.equal(weights[name], value) for name, value in load_model(run).state_dict().items())


def test_the_study_and_the_loop_learn_the_same(gateflow, tmp_path):  # noqa: F811
    """One Adam, one order of batches, one clipping: a kept run has the losses of `gateflow train agreement`."""
    kept, trained = tmp_path / "kept", tmp_path / "trained"
    train_one(Entry("lstm:chrono", "far", 0, AgreementBudget(updates=50, hidden_size=8), keep=kept))
    words = (
        "--cell=lstm",
        "--init=chrono:60",
        "--distances=far",
        "--sentences=1600",
        "--hidden-size=8",
        "--no-monitor",
    )
    assert gateflow("train", "agreement", "--out", trained, *words).code == 0
    (mine,), theirs = records(kept), records(trained)[0]
    for name in ("loss", "gradient_norm"):
        assert mine[name] == pytest.approx(theirs[name], rel=1e-3)


def test_one_process_trains_it(tmp_path):
    with pytest.raises(ValueError, match="trains in one process, not in 2"):
        AgreementTask(AgreementRun(tmp_path), AgreementConfig(), 0, 2)
