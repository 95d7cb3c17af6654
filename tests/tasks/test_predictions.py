"""A file of answers never takes the place of a file that was read, however that one was named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateflow.errors import ConfigError
from gateflow.tasks.predictions import refuse_to_replace


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
        refuse_to_replace(tmp_path / place, run, read)


@pytest.mark.parametrize("place", ["new", "with", "comma", "folder/new"])
def test_what_is_new_or_another_file_is_written(tmp_path, place):
    (tmp_path / "folder").mkdir()
    for name in ("comma", "with,comma"):
        (tmp_path / name).touch()
    read = {"--data": tmp_path / "with,comma", "--lm": tmp_path / "folder"}
    refuse_to_replace(tmp_path / place, a_run(tmp_path), read)
    refuse_to_replace(None, a_run(tmp_path), read)
