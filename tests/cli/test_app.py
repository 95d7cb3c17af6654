"""What every command has: help with an example, speed, the version."""

import json
import subprocess
import sys

import pytest
import typer
from jsonschema import Draft202012Validator

from gateflow import cells
from gateflow.cell_names import CELL_NAMES
from gateflow.cli.app import build
from gateflow.runs.config import TrainingConfig
from gateflow.tasks import TASKS, description
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


# Each takes as long to import as all that an answer without them takes.
SLOW = {"torch", "numpy", "accelerate", "tokenizers", "safetensors", "pandas", "sklearn", "jinja2", "plotly", "PIL"}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_it_answers_without_what_takes_long(word):
    code = (
        "import json, sys\nsys.argv[0] = '/usr/bin/gateflow'\nfrom gateflow.cli import main\n"
        f"try: main(['{word}'])\nfinally: print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(json.loads(done.stdout.splitlines()[-1]))


WRONG = """trian · train lmm · train lm --hiden-size 3 · train lm --data x --out y --layers 0 · cells lstn
    explain lstn · train lm --data x --out y --cell lstn · train translator --data x --out y --decoder-cell lstn
    bench --cell lstn · train lm --data x --out y --cell lstm:crono
    train lm --data x --out y --cell lstm:chrono --init identity
    compare --cells lstm,lstn --data x · compare --task agrement · compare --task adding --cells lstn · diagnose
    train lm --data nowhere --out y · compare --data nowhere
    quickstart --cells lstn · resume nowhere · evaluate nowhere · diagnose nowhere --eval"""


def test_wrong_use_is_told_without_torch():
    words = [line.split() for text in WRONG.splitlines() for line in text.split("·")]
    code = f"""import sys
sys.argv[0] = '/usr/bin/gateflow'
from gateflow.cli import main
for words in {words}:
    try:
        main(words)
    except SystemExit as left:
        assert left.code, words
    assert not {SLOW} & set(sys.modules), words"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "did you mean lstm" in done.stderr


def test_names_of_cells_that_are_told_without_torch_are_those_there_are():
    assert tuple(name for name in cells.names() if cells.get(name).__module__.startswith("gateflow.")) == CELL_NAMES


def test_what_json_prints_is_published(gateflow):
    schema = json.loads(gateflow("--json-schema").out)
    Draft202012Validator.check_schema(schema)
    own = {words[0] for words in LEAVES} - {verb.name for name in TASKS for verb in description(name).verbs}
    assert own <= set(schema["$defs"])


def test_version(gateflow):
    assert gateflow("--version").out.startswith("gateflow 0.")


def test_no_command_shows_what_there_is(gateflow):
    result = gateflow()
    assert "train" in result.out + result.err
