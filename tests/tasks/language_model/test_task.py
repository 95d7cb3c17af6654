"""The language model as a task of the loop, and how its run is set up."""

import pytest
import torch

from gateflow.errors import ConfigError
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.loading import build_model
from gateflow.tasks.language_model.model import detach
from gateflow.tasks.language_model.task import LanguageModelTask

SMALL = {"hidden_size": 6, "embedding_size": 6}


@pytest.fixture
def run(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a b c d\nb c d a\nc d a b\n" * 30)
    options = {"data": {"train": text, "valid": text}, "model": SMALL, "training": {"batch_size": 4, "window": 5}}
    config = LanguageModelConfig.build(options)
    return set_up(tmp_path / "run", config), config


def test_the_output_starts_from_how_often_each_word_occurs(run):
    task = LanguageModelTask(*run)
    counts = torch.zeros(len(task.model.bias)).index_add(0, torch.arange(6), torch.tensor([0.0, 90, 90, 90, 90, 90]))
    share = (counts + 0.1) / (counts + 0.1).sum()
    untrained = build_model(run[1].model, 6)
    untrained.fit_frequencies(counts)
    assert torch.allclose(untrained.bias.exp(), share)


def test_windows_go_on_where_they_stopped_and_the_state_is_carried_without_its_graph(run):
    task = LanguageModelTask(*run)
    windows = list(task.batches(0, 0))
    assert len(windows) == task.batches_per_epoch()
    assert all(torch.equal(a, b) for a, b in zip(windows[2], next(task.batches(1, 2)), strict=True))
    task.model.eval()
    _, _, carried = task.loss(task.model, windows[0], None)
    assert not any(part.requires_grad for layer in carried for part in layer)
    whole = tuple(torch.cat(parts) for parts in zip(*windows[:2], strict=True))
    first, n, carried = task.loss(task.model, windows[0], None)
    second, m, _ = task.loss(task.model, windows[1], carried)
    together, count, _ = task.loss(task.model, whole, None)
    assert count == n + m
    assert together.item() == pytest.approx((first.item() * n + second.item() * m) / count, rel=1e-5)


def test_two_processes_share_the_columns(run):
    whole = next(LanguageModelTask(*run).batches(0, 0))
    parts = [next(LanguageModelTask(*run, rank, 2).batches(0, 0)) for rank in range(2)]
    for i in range(2):
        assert torch.equal(torch.cat([part[i] for part in parts], dim=1), whole[i])
    with pytest.raises(ConfigError, match="batch_size 4 cannot be shared evenly among 3 processes"):
        LanguageModelTask(*run, 0, 3)


def test_validation_predicts_every_token_but_the_first(run):
    task = LanguageModelTask(*run)
    sums, count = task.validate(task.model)
    assert count == 90 * 5 - 1
    assert 0 < sums["loss"] / count < 3
    assert detach(None) is None


@pytest.mark.parametrize("words", [500, 5_200])
def test_what_a_validation_finds_depends_on_no_batch_and_on_no_number_of_processes(tmp_path, words):
    text, found = tmp_path / "text.txt", []
    text.write_text("a b c d\nb c d a\nc d a b\n" * (words // 15 + 1))
    for batch_size in (1, 4, 60):
        training = {"batch_size": batch_size, "window": 7}
        config = LanguageModelConfig.build(
            {"data": {"train": text, "valid": text}, "model": SMALL, "training": training}
        )
        run = set_up(tmp_path / f"run{batch_size}", config)
        for processes in {1, min(4, batch_size)}:
            sums = []
            for rank in range(processes):
                torch.manual_seed(0)
                task = LanguageModelTask(run, config, rank, processes)
                sums.append(task.validate(task.model.double()))
            found.append((sum(loss["loss"] for loss, _ in sums), sum(count for _, count in sums)))
    assert [count for _, count in found] == [found[0][1]] * len(found)
    assert [loss for loss, _ in found] == pytest.approx([found[0][0]] * len(found), rel=1e-9)


def test_a_validation_text_may_be_shorter_than_a_batch_is_wide(tmp_path):
    for name, text in (("train", "a b c\n" * 30), ("valid", "a b\n")):
        (tmp_path / name).write_text(text)
    data = {"train": tmp_path / "train", "valid": tmp_path / "valid"}
    config = LanguageModelConfig.build({"data": data, "model": SMALL, "training": {"batch_size": 20}})
    task = LanguageModelTask(set_up(tmp_path / "run", config), config)
    assert task.validate(task.model)[1] == 2


@pytest.mark.parametrize(("text", "cell"), [("orthogonal", "gru"), ("identity", "elman_relu")])
def test_initial_weights_of_the_recurrent_matrix(text, cell):
    model = build_model(
        LanguageModelConfig.build({"data": {"train": "x"}, "model": {**SMALL, "cell": cell, "init": text}}).model, 9
    )
    (bound,) = model.recurrent.cells
    for gate in bound.weight_hh.detach().split(6):
        wanted = torch.eye(6) if text == "identity" else gate
        assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)
        assert torch.allclose(gate, wanted)


@pytest.mark.parametrize(("text", "low", "high"), [("forget:2.5", 2.5, 2.5), ("chrono:60", 0.0, 4.08)])
def test_initial_biases_of_the_forget_gate(text, low, high):
    model = build_model(LanguageModelConfig.build({"data": {"train": "x"}, "model": {**SMALL, "init": text}}).model, 9)
    (bound,) = model.recurrent.cells
    forget = (bound.bias_ih + bound.bias_hh).detach()[6:12]
    assert ((forget >= low) & (forget <= high)).all()
