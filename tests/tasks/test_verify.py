"""A description that does not hold together is refused when it is read; what it is no part of works all the same."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import typer
from tests.cli.conftest import gateflow  # noqa: F401  (a fixture)
from tests.tasks import toy

from gateflow.cli.app import build
from gateflow.errors import TaskError
from gateflow.runs.config import ConfigSection, RunConfig
from gateflow.tasks import TASKS, description
from gateflow.tasks.description import Option, Verb
from gateflow.tasks.verify import OWN_COMMANDS

HERE = "tests.tasks.test_verify"
SING = toy.TONES.verbs[1]


class Clash(ConfigSection):
    force: int = 1


class ClashingConfig(RunConfig):
    task: Literal["tones"] = "tones"
    model: Clash = Clash()


class TwiceConfig(RunConfig):
    unused: ClassVar = frozenset()
    task: Literal["tones"] = "tones"
    data: toy.TonesConfig = toy.TonesConfig()
    model: toy.TonesConfig = toy.TonesConfig()


class OtherConfig(RunConfig):
    task: Literal["songs"] = "songs"


class CelllessConfig(RunConfig):
    task: Literal["tones"] = "tones"


def with_verb(name="sing", function=SING.function, options=()):
    return {"verbs": (Verb(name, "Sing.", function, options),)}


ENTRIES = {
    "no module": ("nowhere.at_all:TONES", "'tones' of TASKS is 'nowhere.at_all:TONES', and that cannot be imported"),
    "no name": ("tests.tasks.toy:TUNES", "'tones' of TASKS is 'tests.tasks.toy:TUNES', and that cannot be imported"),
    "no colon": ("tests.tasks.toy", "'tones' of TASKS is 'tests.tasks.toy': write it as package.module:name"),
    "no text": (toy.TONES, "'tones' of TASKS is .*: write it as package.module:name"),
    "no description": ("math:pi", "'tones' of TASKS: math:pi is no TaskDescription, but 3.14"),
}
DESCRIPTIONS = {
    "another name": ({"name": "songs"}, "'tones' of TASKS has the description of 'songs'"),
    "no module of the config": ({"config": "nowhere:Config"}, "`config` of the task tones is 'nowhere:Config', and"),
    "no class of a config": ({"config": "math:pi"}, "`config` of the task tones: math:pi is no class of"),
    "the config of another task": ({"config": f"{HERE}:OtherConfig"}, "`config` of the task tones: .* is 'songs'"),
    "a word of every training": ({"config": f"{HERE}:ClashingConfig"}, "--force is an option of every training"),
    "two options of the config": ({"config": f"{HERE}:TwiceConfig"}, "two options are called --length"),
    "no place": ({"build": "toy"}, "`build` of the task tones is 'toy': write it as package.module:name"),
    "half a comparison": ({"begin": ""}, "`compared` of the task tones: a comparison needs `begin` and `compared`"),
    "no place of a comparison": ({"begin": "toy"}, "`begin` of the task tones is 'toy': write it as package.module"),
    "no cell to compare": ({"config": f"{HERE}:CelllessConfig"}, "`compared` of the task tones: .* no option `cell`"),
    "no field": ({"next_steps": ("sing {path}",)}, "`next_steps` of the task tones: .* asks for {path}; {run} is all"),
    "half a field": ({"next_steps": ("sing {run",)}, "`next_steps` of the task tones: .* is no text to be filled in"),
    "a verb without a place": (with_verb(function="sing"), "`function` of the verb sing of the task tones is 'sing'"),
    "a command of all tasks": (with_verb("resume"), "the verb resume of the task tones: .* rename the verb"),
    "two verbs of one name": ({"verbs": (SING, SING)}, "`verbs` of the task tones: two are called 'sing'"),
    "the run": (with_verb(options=(Option("run", str, ""),)), "--run is an option of every verb; rename yours"),
    "JSON": (with_verb(options=(Option("json", bool, ""),)), "--json is an option of every verb"),
    "two options": (with_verb(options=(Option("key", str, ""), Option("key", int, ""))), "two are|called --key"),
    "no argument": (with_verb(options=(Option("a-b", str, ""),)), "'a-b' is no name of an argument"),
    "no type": (with_verb(options=(Option("keys", list, ""),)), "the option keys has the type .*; there are int, "),
}


@pytest.mark.parametrize("name", [*ENTRIES, *DESCRIPTIONS])
def test_what_does_not_hold_together_is_refused_with_the_field_and_harms_nothing_else(
    monkeypatch,
    gateflow,  # noqa: F811
    name,
):
    if name in ENTRIES:
        place, message = ENTRIES[name]
    else:
        changed, message = DESCRIPTIONS[name]
        place = f"{HERE}:CHANGED"
        monkeypatch.setitem(globals(), "CHANGED", dataclasses.replace(toy.TONES, **changed))
    monkeypatch.setitem(TASKS, "tones", place)
    with pytest.raises(TaskError, match=message):
        description("tones")
    result = gateflow("cells", "lstm")
    assert result.code == 0
    assert "note: the task tones is left out. " in result.err
    assert "Go on with a run" in " ".join(gateflow("resume", "--help").out.split())


def test_a_place_that_is_wrong_is_told_when_it_is_needed(monkeypatch):
    wrong = dataclasses.replace(toy.TONES, build="tests.tasks.toy:Task")
    with pytest.raises(TaskError, match="`build` of the task tones is 'tests.tasks.toy:Task', and that cannot"):
        wrong.part("build")


def test_all_commands_of_no_task_are_known():
    verbs = {verb.name for name in TASKS for verb in description(name).verbs}
    assert typer.main.get_command(build()).commands.keys() - verbs == OWN_COMMANDS


def test_a_task_that_is_left_out_is_named_for_its_runs(monkeypatch, gateflow, tmp_path: Path):  # noqa: F811
    (tmp_path / "config.toml").write_text("format = 2\ntask = 'tones'\n")
    monkeypatch.setitem(TASKS, "tones", "math:pi")
    result = gateflow("resume", tmp_path)
    assert result.code == 1
    assert "gateflow: the entry 'tones' of TASKS: math:pi is no TaskDescription" in result.err
