"""A task that the package has never heard of is trained, killed, resumed, evaluated and diagnosed by its commands."""

import json
import os
import subprocess
import sys

import pytest
from tests.cli.conftest import gateflow  # noqa: F401  (a fixture)
from tests.conftest import reset_accelerate
from tests.tasks import toy
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks import TASKS
from gateflow.training.metrics import MetricsLog

SMALL = ("--batch-size=4", "--units=6", "--epochs=60", "--lr=0.02", "--log-every=5", "--checkpoint-every=7")
TIMES = ("seconds", "sequences_per_second")
REGISTERED = (
    "import sys\nfrom gateflow.tasks import TASKS\n"
    f"TASKS['tones'] = {toy.PLACE!r}\n"
    "from gateflow.cli import main\nmain(sys.argv[1:])\n"
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(TASKS, "tones", toy.PLACE)


@pytest.fixture(name="command")
def _command(gateflow):  # noqa: F811
    """Run a command of this process, fresh for each one."""

    def run(*words):
        reset_accelerate()
        return gateflow(*words)

    return run


def records(path):
    found = [record for record in MetricsLog(path / "metrics.jsonl").read() if record["kind"] != "flow"]
    return [{name: value for name, value in record.items() if name not in TIMES} for record in found]


def test_it_is_trained_evaluated_diagnosed_and_sings(command, tmp_path):
    run = tmp_path / "run"
    done = command("train", "tones", "--out", run, *SMALL)
    assert done.code == 0, done.err
    assert "best validation accuracy" in done.err
    assert f"Next: gateflow sing {run}" in done.err
    assert " sequences/s" in done.err
    best = max(record["accuracy"] for record in records(run) if record["kind"] == "valid")
    assert best > 0.9
    assert json.loads(command("resume", run, "--json").out)["validation_accuracy"] == best
    assert json.loads(command("evaluate", run, "--fresh", 20, "--json").out)["heard"] > 0.9
    assert command("evaluate", run).out.startswith("heard ")
    assert command("sing", run).out == "do re mi\n"
    report = json.loads(command("diagnose", run, "--needed-lag", 11, "--json").out)
    assert report["context"]["title"] == "Gradient flow of run"
    assert len(report["context"]["history"]) > 10


def long_training(path):
    """What a killed child is to do; it is forked from a program that knows the task from here."""
    TASKS["tones"] = toy.PLACE
    return Command(path, "train", "tones", *SMALL, "--epochs=40", "--no-monitor")


def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_happened(tmp_path):
    kill_again_and_again(f"{__name__}:{long_training.__name__}", tmp_path, seed=0, kills=3)


def test_cells_are_compared_on_it_with_its_own_options(command):
    words = ("compare", "--task", "tones", "--cells", "gru,lstm", "--length", 10, "--units", 5, "--batch-size", 4)
    gru, lstm = json.loads(command(*words, "--lr", 0.02, "--updates", 90, "--seeds", 2, "--json").out)
    assert (gru["measure"], gru["better"], gru["target"]) == ("validation accuracy", "larger", "sequence")
    assert (gru["cell"], lstm["cell"], gru["reachable"]) == ("gru", "lstm", 9)
    assert (gru["parameters"], lstm["parameters"]) == (135, 180)
    assert all(quality > 0.5 for quality in gru["qualities"] + lstm["qualities"])
    assert "µs per sequence" in command(*words, "--updates", 2).out
    assert "--units" in command("compare", "--task", "tones", "--help").out


def test_options_and_verbs_of_other_tasks_are_refused_in_words(command, tmp_path):
    run = tmp_path / "run"
    assert command("train", "tones", "--out", run, *SMALL, "--max-updates=3").code == 0
    for words, part in (
        (("evaluate", run, "--data", "text.txt"), f"--data text.txt is no option for {run}, a run of the task tones"),
        (("generate", run), "a run of the task tones, which has no verb generate; it has resume, diagnose, evaluate"),
        (("train", "tones", "--out", tmp_path / "other", "--units", 0), "--units 0: input should be greater"),
        (("train", "lm", "--data", "x", "--out", tmp_path / "other", "--config", run / "config.toml"), "tones"),
    ):
        result = command(*words)
        assert (result.code, result.out) == (2, ""), words
        assert part in result.err, result.err


def test_a_file_of_its_own_is_sealed_and_belongs_to_the_run(command, tmp_path):
    run = tmp_path / "run"
    train = ("train", "tones", "--out", run, *SMALL, "--max-updates=3")
    assert command(*train).code == 0
    assert command(*train, "--force").code == 0
    (run / "scale" / "tones.txt").write_text("do do do\n", encoding="utf-8")
    assert "tones.txt is damaged: its checksum" in command("resume", run).err


def test_a_run_of_a_task_that_is_gone_says_so(command, tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert command("train", "tones", "--out", run, *SMALL, "--max-updates=3").code == 0
    monkeypatch.delitem(TASKS, "tones")
    result = command("resume", run)
    assert (result.code, result.out) == (1, "")
    assert f"is a run of the task 'tones', and there are {', '.join(TASKS)}" in result.err


@pytest.mark.parametrize(
    "words", ["--help", "train tones --help", "train lm --help", "sing --help", "compare --task tones --help"]
)
def test_help_needs_no_torch(words):
    last = f"try: main({words.split()!r})\nfinally: print('torch' in sys.modules)"
    code = "import sys\nsys.argv[0] = '/usr/bin/gateflow'\n" + REGISTERED.replace("main(sys.argv[1:])", last)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "False"
