"""Files appear whole or not at all, whatever is killed and whatever somebody has put in their way."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateflow import files
from gateflow.errors import WriteError
from gateflow.files import appears_whole, append, is_draft, open_ordinary, read_bounded, refuse_unwritable, sweep, write

ABANDONED = ".gateflow-0123456789abcdef.draft"


@pytest.fixture
def umask():
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write_half(path, error):
    with appears_whole(path) as file:
        file.write(b"half")
        raise error


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with appears_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(WriteError, match=r"could not write .*file: No space left on device\. .* untouched"):
        write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_of_the_writer_passes_through(tmp_path):
    with pytest.raises(TypeError, match="mine"):
        write_half(tmp_path / "file", TypeError("mine"))
    assert os.listdir(tmp_path) == []


def test_content_then_name_then_folder_reach_the_disk_in_this_order(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"{os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    def renamed(*names):
        done.append("name")
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write(tmp_path / "file", "whole")
    assert done == ["5 bytes", "name", "folder"]


def test_a_draft_is_private_and_its_name_is_known_to_nobody(tmp_path, umask):
    os.umask(0)
    with appears_whole(tmp_path / "file") as file:
        (first,) = tmp_path.iterdir()
        assert mode(first) == 0o600
        file.write(b"whole")
    with appears_whole(tmp_path / "file"):
        (second,) = (entry for entry in tmp_path.iterdir() if is_draft(entry.name))
    assert is_draft(first.name)
    assert first.name != second.name


def test_the_file_has_the_mode_that_any_new_file_has(tmp_path, umask):
    write(tmp_path / "file", "whole")
    (tmp_path / "other").write_text("by hand")
    assert mode(tmp_path / "file") == mode(tmp_path / "other") == 0o666 & ~umask
    write(tmp_path / "own", "whole", private=True)
    assert mode(tmp_path / "own") == 0o600


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, umask):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o600)
    write(tmp_path / "file", "new")
    assert mode(tmp_path / "file") == 0o600


@pytest.mark.parametrize("put", [write, lambda path, text: append(path, text)], ids=["write", "append"])
@pytest.mark.parametrize("target", ["file", "nothing", "folder"])
def test_nothing_is_written_through_a_link(tmp_path, put, target):
    victim = tmp_path / "victim"
    if target == "file":
        victim.write_text("mine")
    if target == "folder":
        victim.mkdir()
    (tmp_path / "name").symlink_to(victim)
    try:
        put(tmp_path / "name", "theirs")
    except WriteError:
        assert (tmp_path / "name").is_symlink()
    else:
        assert not (tmp_path / "name").is_symlink()
        assert (tmp_path / "name").read_text() == "theirs"
    assert victim.exists() == (target != "nothing")
    if target == "file":
        assert victim.read_text() == "mine"
    if target == "folder":
        assert list(victim.iterdir()) == []


def test_a_name_that_is_taken_by_a_link_is_no_draft(tmp_path, monkeypatch):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f".gateflow-{'0' * 16}.draft").symlink_to(tmp_path / "victim")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    with pytest.raises(WriteError, match=r"could not write .*file: File exists"):
        write(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/null", path)])
def test_only_ordinary_files_are_appended_to_and_read(tmp_path, make):
    make(tmp_path / "name")
    with pytest.raises(WriteError, match="could not write .*name"):
        append(tmp_path / "name", "line\n")
    with pytest.raises(OSError, match="no ordinary file|Is a directory"):
        open_ordinary(tmp_path / "name")


def test_a_device_is_not_replaced(tmp_path, monkeypatch):
    """As root the rename would succeed, and the machine would have a file in the place of /dev/null."""
    # Should this test ever fail, the devices stay.
    monkeypatch.setattr(files.os, "replace", lambda *_: pytest.fail("replaced"))
    (tmp_path / "devices").symlink_to("/dev")
    for path in (*map(Path, ("/dev/null", "/dev/full", "/dev/stdout")), tmp_path / "devices" / "null"):
        for put in (lambda path: write(path, "text"), refuse_unwritable):
            with pytest.raises(WriteError, match=f"could not write {path}: a device is no file"):
                put(path)
    assert [path.name for path in Path("/dev").iterdir() if is_draft(path.name)] == []


def test_a_pipe_is_no_place_for_what_is_asked_for_and_none_stays_among_files_of_ours(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WriteError, match="pipe: it is a pipe, in whose place a file would be put"):
        refuse_unwritable(tmp_path / "pipe")
    write(tmp_path / "pipe", "whole")
    assert (tmp_path / "pipe").read_text() == "whole"


def test_a_file_is_read_up_to_its_bound_and_not_farther(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bounded(tmp_path / "file", 5) == b"12345"
    os.truncate(tmp_path / "file", 1 << 40)  # takes no room on the disk, and a terabyte in memory
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_bounded(tmp_path / "file", 5)
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_bounded(Path("/dev/zero"), 5)


def test_lines_are_added_at_the_end(tmp_path):
    append(tmp_path / "log", "one\n")
    append(tmp_path / "log", "zwei für\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "one\nzwei für\n"


WRITER = """
import sys, time
from pathlib import Path
from gateflow.files import appears_whole
with appears_whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("begun", flush=True)
    time.sleep(60)
"""


def killed_while_writing(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"begun\n"
        writer.kill()


def test_what_a_killed_writer_leaves_is_swept(tmp_path):
    (tmp_path / "file").write_text("old")
    killed_while_writing(tmp_path / "file")
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_draft_that_is_being_written_is_not_swept(tmp_path):
    with appears_whole(tmp_path / "file") as file:
        sweep(tmp_path)
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_draft_swept_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    lock, made = files.fcntl.flock, []

    def swept_first(descriptor, how):
        if not made:
            made.extend(tmp_path.iterdir())
            made[0].unlink()
        lock(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", swept_first)
    write(tmp_path / "file", "whole")
    assert os.listdir(tmp_path) == ["file"]


def test_a_sweep_takes_nothing_else_and_follows_no_link(tmp_path):
    (tmp_path / "other").mkdir()
    kept = [tmp_path / ".gateflow-notes.draft", tmp_path / "paper.draft", tmp_path / "other" / ABANDONED]
    for path in kept:
        path.write_text("mine")
    (tmp_path / ABANDONED).symlink_to(tmp_path / "paper.draft")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    sweep(tmp_path)
    sweep(tmp_path / "link")
    sweep(tmp_path / "nowhere")
    assert all(path.read_text() == "mine" for path in kept)
