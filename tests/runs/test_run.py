"""A run appears whole, replaces only runs, and is trained by one process at a time."""

import errno
import shutil
from pathlib import Path

import pytest

from gateflow.errors import RunError, RunWarning
from gateflow.runs.new_run import new_run
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.run import LanguageModelRun

CONFIG = LanguageModelConfig.build({"data": {"train": "corpus.txt"}})


def make(path: Path, mark: str = "", **options) -> LanguageModelRun:
    with new_run(LanguageModelRun, path, CONFIG, **options) as run:
        run.tokenizer_file.write_text(mark)
    return LanguageModelRun.open(path)


def make_and_fail(path: Path, error: Exception, **options):
    with new_run(LanguageModelRun, path, CONFIG, **options) as run:
        run.tokenizer_file.write_text("half")
        raise error


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_run_appears_with_its_parents_and_without_traces(tmp_path):
    run = make(tmp_path / "runs" / "one")
    assert run.config() == CONFIG
    assert names(tmp_path / "runs") == {"one"}


def test_an_empty_folder_may_become_a_run(tmp_path):
    (tmp_path / "one").mkdir()
    assert make(tmp_path / "one").config() == CONFIG


def test_an_existing_run_is_refused_and_force_replaces_it(tmp_path):
    make(tmp_path / "one", "old")
    with pytest.raises(RunError, match=r"--out .*one exists; go on with `gateflow resume .*one`, or .* --force"):
        make(tmp_path / "one", "new")
    assert LanguageModelRun.open(tmp_path / "one").tokenizer_file.read_text() == "old"
    assert make(tmp_path / "one", "new", force=True).tokenizer_file.read_text() == "new"
    assert names(tmp_path) == {"one"}


def test_the_old_run_stays_if_the_new_one_fails(tmp_path):
    make(tmp_path / "one", "old")
    with pytest.raises(KeyError):
        make_and_fail(tmp_path / "one", KeyError("no data"), force=True)
    assert LanguageModelRun.open(tmp_path / "one").tokenizer_file.read_text() == "old"
    assert names(tmp_path) == {"one"}


def test_a_full_disk_during_set_up_leaves_nothing(tmp_path):
    with pytest.raises(RunError, match=r"could not write .*one: No space left on device"):
        make_and_fail(tmp_path / "one", OSError(errno.ENOSPC, "No space left on device"))
    assert names(tmp_path) == set()


def test_what_a_killed_set_up_left_is_cleared_away(tmp_path):
    draft = tmp_path / ".one.new"
    (draft / "tokens").mkdir(parents=True)
    (draft / "lock").touch()
    (draft / "tokenizer.json").write_text("half")
    with new_run(LanguageModelRun, tmp_path / "one", CONFIG):
        pass
    assert names(tmp_path / "one") == {"config.toml", "lock"}
    assert names(tmp_path) == {"one"}


def test_force_deletes_no_folder_that_is_not_a_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"--force replaces runs only, and .*thesis is none"):
        make(tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_force_deletes_no_folder_with_some_other_config(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "config.toml").write_text("title = 'my pages'\n")
    with pytest.raises(RunError, match=r"--force replaces runs only, and .*site is none"):
        make(tmp_path / "site", force=True)
    assert (tmp_path / "site" / "config.toml").exists()


def test_a_folder_of_the_name_of_a_set_up_is_not_cleared(tmp_path):
    (tmp_path / ".one.new").mkdir()
    (tmp_path / ".one.new" / "mine").write_text("mine")
    with pytest.raises(RunError, match=r"\.one\.new is in the way .* move it away"):
        make(tmp_path / "one")
    assert (tmp_path / ".one.new" / "mine").read_text() == "mine"


def killed_between_the_two_renamings(path: Path) -> None:
    make(path, "old").path.rename(path.with_name(f".{path.name}.old"))
    (path.with_name(f".{path.name}.new")).mkdir()
    (path.with_name(f".{path.name}.new") / "lock").touch()


def test_killed_between_the_two_renamings_the_old_run_is_put_back_when_it_is_opened(tmp_path):
    killed_between_the_two_renamings(tmp_path / "one")
    with pytest.warns(RunWarning, match=r"one is back: the command that was replacing it"):
        assert LanguageModelRun.open(tmp_path / "one").tokenizer_file.read_text() == "old"
    assert names(tmp_path) == {"one", ".one.new"}


@pytest.mark.parametrize("empty", [False, True])
def test_killed_between_the_two_renamings_it_is_replaced_by_force_alone(tmp_path, empty):
    killed_between_the_two_renamings(tmp_path / "one")
    if empty:
        (tmp_path / "one").mkdir()
    with pytest.warns(RunWarning), pytest.raises(RunError, match=r"--out .*one exists; go on with"):
        make(tmp_path / "one", "new")
    assert LanguageModelRun.open(tmp_path / "one").tokenizer_file.read_text() == "old"
    assert make(tmp_path / "one", "new", force=True).tokenizer_file.read_text() == "new"
    assert names(tmp_path) == {"one"}


def test_a_run_that_is_being_replaced_by_a_living_process_is_left_to_it(tmp_path):
    killed_between_the_two_renamings(tmp_path / "one")
    with LanguageModelRun(tmp_path / ".one.new").lock(), pytest.raises(RunError, match="there is no run"):
        LanguageModelRun.open(tmp_path / "one")
    assert names(tmp_path) == {".one.old", ".one.new"}


def test_killed_while_it_removed_what_it_had_replaced_it_goes_on_removing(tmp_path):
    killed_between_the_two_renamings(tmp_path / "one")
    (tmp_path / ".one.old" / "config.toml").unlink()
    assert make(tmp_path / "one", "new").tokenizer_file.read_text() == "new"
    (tmp_path / ".one.old" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"--force would delete .*\.one\.old/notes\.txt, which is no part of a run"):
        make(tmp_path / "one", "newer", force=True)
    (tmp_path / ".one.old" / "notes.txt").unlink()
    assert make(tmp_path / "one", "newer", force=True).tokenizer_file.read_text() == "newer"
    assert names(tmp_path) == {"one"}


@pytest.mark.parametrize("name", ["notes.txt", "checkpoint/notes.txt", "tokens/a/b.txt", "flow.html", "my-flow.html"])
def test_force_deletes_no_run_with_a_file_of_the_user(tmp_path, name):
    file = make(tmp_path / "one").path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    with pytest.raises(RunError, match=rf"--force would delete .*{name}, which is no part of a run"):
        make(tmp_path / "one", force=True)
    assert file.read_text() == "mine"


def test_force_deletes_what_a_run_may_hold(tmp_path):
    run = make(tmp_path / "one")
    for name in ("checkpoint/last.safetensors", "tensorboard/events.out.tfevents.1.host", "tokens/train.npy"):
        (run.path / name).parent.mkdir()
        (run.path / name).touch()
    for name in ("checkpoint/.gateflow-0123456789abcdef.draft", "checkpoint/.last.safetensors.draft"):
        (run.path / name).touch()
    make(run.path, force=True)
    assert names(run.path) == {"config.toml", "tokenizer.json", "lock"}


def test_force_replaces_runs_of_the_same_task_only(tmp_path):
    one, other = make(tmp_path / "one").path, tmp_path / "other"
    with new_run(AgreementRun, other, AgreementConfig()):
        pass
    with pytest.raises(RunError, match=r"one is a run of the task 'lm', and this would be one of the task 'agreement'"):
        set_up_agreement(one)
    with pytest.raises(RunError, match=r"other is a run of the task 'agreement', and this would be .* 'lm'"):
        make(other, force=True)
    assert LanguageModelRun.open(one).task() == "lm"
    assert AgreementRun.open(other).task() == "agreement"


def set_up_agreement(path: Path) -> None:
    with new_run(AgreementRun, path, AgreementConfig(), force=True):
        pass


def test_a_file_in_the_place_of_a_run_stays(tmp_path):
    (tmp_path / "one").write_text("mine")
    for force in (False, True):
        with pytest.raises(RunError, match=r"--out .*one is a file"):
            make(tmp_path / "one", force=force)
    assert (tmp_path / "one").read_text() == "mine"


def test_a_folder_that_is_no_run_is_not_opened(tmp_path):
    with pytest.raises(RunError, match=r"there is no run at .*nowhere; `gateflow train TASK"):
        LanguageModelRun.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"is not a run: it holds no config.toml"):
        LanguageModelRun.open(tmp_path)


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    run = make(tmp_path / "one")
    with run.lock():
        with (
            pytest.raises(RunError, match=r"one is being trained by another process"),
            LanguageModelRun.open(run.path).lock(),
        ):
            pass
        with pytest.raises(RunError, match=r"is being trained"):
            make(run.path, force=True)
    with run.lock():
        pass


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    run = make(tmp_path / "one")
    with pytest.raises(RunError, match=r"one lacks model.safetensors; train first\."):
        run.require(run.model_file, "train first")


def linked(run: LanguageModelRun, name: str, target: Path) -> Path:
    shutil.rmtree(run.path / name, ignore_errors=True)
    (run.path / name).unlink(missing_ok=True)
    target.mkdir()
    (run.path / name).symlink_to(target)
    return target


@pytest.mark.parametrize("name", ["lock", *LanguageModelRun.folders()])
def test_a_run_is_not_trained_through_a_link(tmp_path, name):
    run = make(tmp_path / "one")
    linked(run, name, tmp_path / "victim")
    with pytest.raises(RunError, match=rf"one/{name} is a link, .* to .*victim; put the real thing"), run.lock():
        pass
    assert names(tmp_path / "victim") == set()


def test_a_link_in_the_place_of_a_set_up_is_not_followed(tmp_path):
    (tmp_path / "victim").mkdir()
    for name in ("lock", "thesis.tex"):
        (tmp_path / "victim" / name).write_text("mine")
    (tmp_path / ".one.new").symlink_to(tmp_path / "victim")
    with pytest.raises(RunError, match=r"\.one\.new is in the way"):
        make(tmp_path / "one")
    assert names(tmp_path / "victim") == {"lock", "thesis.tex"}


def test_a_link_in_a_set_up_that_was_killed_is_removed_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "mine").touch()
    (tmp_path / ".one.new").mkdir()
    (tmp_path / ".one.new" / "lock").touch()
    (tmp_path / ".one.new" / "more").symlink_to(tmp_path / "victim")
    make(tmp_path / "one")
    assert names(tmp_path / "victim") == {"mine"}


def test_a_set_up_killed_before_it_had_a_lock_is_in_nobodys_way(tmp_path):
    (tmp_path / ".one.new").mkdir()
    assert make(tmp_path / "one").config() == CONFIG


def test_opening_a_run_sweeps_what_killed_processes_left(tmp_path):
    run = make(tmp_path / "one")
    (run.path / "checkpoint").mkdir()
    for folder in (run.path, run.path / "checkpoint"):
        (folder / ".gateflow-0123456789abcdef.draft").write_text("half")
    LanguageModelRun.open(run.path)
    assert names(run.path) == {"config.toml", "tokenizer.json", "lock", "checkpoint"}
    assert names(run.path / "checkpoint") == set()
