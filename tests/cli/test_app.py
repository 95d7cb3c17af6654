"""What every command has: help with an example, speed, the version."""

import json
import subprocess
import sys

import pytest
import typer

from gateflow.cli.app import build
from gateflow.runs.config import TrainingConfig
from gateflow.tasks import TASKS
from gateflow.tasks.language_model.config import DataConfig, ModelConfig

LEAVES = [["train", name] for name in TASKS]
LEAVES += [[name] for name in typer.main.get_command(build()).commands if name != "train"]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_has_an_example_that_begins_with_the_command(gateflow, words):
    result = gateflow(*words, "--help")
    assert result.code == 0
    assert f"Example: gateflow {' '.join(words)}" in " ".join(result.out.split())


@pytest.mark.parametrize("section", [DataConfig, ModelConfig, TrainingConfig])
def test_every_field_of_the_configuration_is_an_option_with_a_description(gateflow, section, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = gateflow("train", "lm", "--help").out
    for name, field in section.model_fields.items():
        flag = "--data" if name == "train" else "--" + name.replace("_", "-")
        assert flag in shown
        assert field.description


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_it_answers_quickly_without_torch(word):
    code = (
        "import json, resource, sys\nsys.argv[0] = '/usr/bin/gateflow'\nfrom gateflow.cli import main\n"
        f"try: main(['{word}'])\n"
        "finally: print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_utime, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch_imported = json.loads(done.stdout.splitlines()[-1])
    assert not torch_imported
    assert seconds < 0.5


def test_version(gateflow):
    assert gateflow("--version").out.startswith("gateflow 0.")


def test_no_command_shows_what_there_is(gateflow):
    result = gateflow()
    assert "train" in result.out + result.err
