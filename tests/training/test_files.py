"""Files appear whole or not at all."""

import errno
import os

import pytest

from gateflow.errors import RunError
from gateflow.training.files import appearing_whole


def write(path, *parts):
    with appearing_whole(path) as draft, draft.open("w") as file:
        for part in parts:
            file.write(part)


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with appearing_whole(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(RunError, match=r"could not write .*file: No space left on device\. .* untouched"):
        write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_of_the_writer_passes_through(tmp_path):
    with pytest.raises(TypeError, match="must be str"):
        write(tmp_path / "file", "half", 3)
    assert os.listdir(tmp_path) == []
