"""Weights are checked by name, shape and value before a model sees them."""

import errno
import os
import stat

import pytest
import torch
from torch import nn

from gateflow.errors import NonFiniteError, RunError
from gateflow.training.weights import load_weights, read_tensors, unique_tensors, write_tensors


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.output = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.output.weight = self.embedding.weight


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, unique_tensors(nn.Linear(3, 2)))
    return path


def test_tied_weights_are_written_once_and_stay_tied(tmp_path):
    model, other, path = Tied(), Tied(), tmp_path / "model.safetensors"
    write_tensors(path, unique_tensors(model))
    tensors, _ = read_tensors(path)
    assert set(tensors) == {"embedding.weight", "output.bias"}
    load_weights(other, tensors, path)
    assert torch.equal(other.output.weight, model.embedding.weight)
    assert other.output.weight is other.embedding.weight


def test_the_file_may_be_read_by_others(file):
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("length", [0, 4, 40, -1])
def test_a_truncated_file_is_damaged(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunError, match=r"model.safetensors is damaged"):
        read_tensors(file)


def test_a_tampered_header_is_damaged(file):
    content = bytearray(file.read_bytes())
    content[:8] = (2**62).to_bytes(8, "little")
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"model.safetensors is damaged"):
        read_tensors(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"gone.safetensors is missing"):
        read_tensors(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("bias"), r"it lacks bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), r"it holds the unknown extra"),
        (lambda tensors: tensors.update(weight=torch.zeros(3, 3)), r"weight is \[3, 3\], .* asks for \[2, 3\]"),
    ],
)
def test_tensors_of_another_model_are_refused(file, change, message):
    tensors, _ = read_tensors(file)
    change(tensors)
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(RunError, match=rf"does not fit the run's config.toml: {message}"):
        load_weights(model, tensors, file)
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(file, bad):
    tensors, _ = read_tensors(file)
    tensors["weight"][1, 2] = bad
    with pytest.raises(NonFiniteError, match=r"weight in .*model.safetensors holds NaN or infinity"):
        load_weights(nn.Linear(3, 2), tensors, file)


def test_a_full_disk_leaves_the_weights_that_were_there(file, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"could not write .*model.safetensors: No space left"):
        write_tensors(file, {"weight": torch.ones(1000)})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
