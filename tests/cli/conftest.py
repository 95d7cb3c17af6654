"""Commands run in this process, on a run that is trained once."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from jsonschema import Draft202012Validator

from gateflow.cli import main

SCHEMA = json.loads(files("gateflow.cli").joinpath("answers.schema.json").read_text(encoding="utf-8"))
SMALL = ("--hidden-size=8", "--embedding-size=8", "--layers=1", "--batch-size=2", "--window=5", "--epochs=2")


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def gateflow(capsys):
    """Run a command: ``gateflow("cells", "lstm").out``."""

    def run(*words) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        result = Result(int(left.value.code or 0), *capsys.readouterr())
        if "--json" in words and not result.code:
            _is_what_the_schema_says(words[0], result.out)
        return result

    return run


def _is_what_the_schema_says(verb, out):
    """Every answer that any test asks for as JSON is nothing else, and as it was published."""
    name = verb if verb in SCHEMA["$defs"] else "verb of a task"
    judge = Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"})
    for line in out.splitlines():
        judge.validate(json.loads(line))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("the cat sat on the mat\nthe dogs sit on the mats\n" * 20, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def _trained(tmp_path_factory, corpus) -> Path:
    path = tmp_path_factory.mktemp("runs") / "trained"
    with pytest.raises(SystemExit) as left:
        main(["train", "lm", "--data", str(corpus), "--out", str(path), *SMALL])
    assert not left.value.code
    return path


@pytest.fixture
def trained(_trained, tmp_path) -> Path:
    """A copy of the trained run, to be damaged at will."""
    return Path(shutil.copytree(_trained, tmp_path / "trained"))
