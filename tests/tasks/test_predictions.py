"""A file of answers never takes the place of a file that was read, however that one was named."""

import inspect
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateflow.errors import ConfigError, WriteError
from gateflow.tasks.predictions import refuse_bad_output


def a_run(folder: Path, **data: Path) -> Any:
    return SimpleNamespace(
        path=folder / "run", own_files=("data/train.jsonl",), config=lambda: SimpleNamespace(data=data)
    )


@pytest.mark.parametrize(
    "place", ["a", "b", "c", "d", "with,comma", "folder/x", "run/data/train.jsonl", "run/model.safetensors"]
)
def test_what_was_read_is_kept(tmp_path, place):
    (tmp_path / "folder").mkdir()
    for name in ("a", "b", "c", "d", "with,comma", "folder/x"):
        (tmp_path / name).touch()
    run = a_run(tmp_path, target_data=Path(f"{tmp_path / 'a'},{tmp_path / 'b'}"), train=tmp_path / "c")
    read = {"--data": tmp_path / "with,comma", "--lm": tmp_path / "folder", "--target-data": None}
    read["--more"] = Path(f"{tmp_path / 'nowhere'},{tmp_path / 'd'}")
    with pytest.raises(ConfigError, match="choose another name"):
        refuse_bad_output(tmp_path / place, run, read)


@pytest.mark.parametrize("place", ["new", "with", "comma", "folder/new"])
def test_what_is_new_or_another_file_is_written(tmp_path, place):
    (tmp_path / "folder").mkdir()
    for name in ("comma", "with,comma"):
        (tmp_path / name).touch()
    read = {"--data": tmp_path / "with,comma", "--lm": tmp_path / "folder"}
    refuse_bad_output(tmp_path / place, a_run(tmp_path), read)
    refuse_bad_output(None, a_run(tmp_path), read)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comma", "folder", "with,comma"]


@pytest.mark.parametrize("place", ["nowhere/out", "folder", "file/out"])
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=f"could not write .*{place}"):
        refuse_bad_output(tmp_path / place, a_run(tmp_path), {"--data": None})


VERBS = ["classifier", "forecaster", "tagger", "transcriber", "translator"]


@pytest.mark.parametrize("task", VERBS)
def test_each_task_asks_before_its_work(task):
    """All that write predictions: the question comes before the figures are made."""
    source = inspect.getsource(import_module(f"gateflow.tasks.{task}.evaluation").evaluate_run)
    asked = source.index("refuse_bad_output(predictions")
    assert asked < min(source.index(f" {name}(") for name in ("evaluate", "backtest") if f" {name}(" in source)
