"""Weights are checked by name, shape and value before a model sees them."""

import errno
import hashlib
import json
import os
import re
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from gateflow.errors import NonFiniteError, RunError
from gateflow.runs.fit import refuse_other_specs, specs_of
from gateflow.runs.weights import load_weights, read_header, read_tensors, unique_tensors, write_tensors


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


def test_every_bit_of_a_file_is_under_its_checksum(file, tmp_path):
    whole, damaged = file.read_bytes(), tmp_path / "damaged"
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(content)
        with pytest.raises(RunError, match="damaged is damaged"):
            read_tensors(damaged)
    damaged.write_bytes(whole)
    assert read_tensors(damaged)[0].keys() == {"weight", "bias"}


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place(file):
    content = file.read_bytes()
    (seal,) = re.findall(rb'"sha256":"([0-9a-f]{64})"', content)
    assert hashlib.sha256(content.replace(seal, b"0" * 64)).hexdigest().encode() == seal
    with safe_open(file, "pt") as other:
        assert other.metadata() == {"sha256": seal.decode()}


def test_metadata_that_look_like_a_checksum_do_not_mislead(tmp_path):
    metadata = {"gateflow": json.dumps({"sha256": "0" * 64})}
    write_tensors(tmp_path / "file", {"sha256": torch.zeros(2)}, metadata)
    tensors, found = read_tensors(tmp_path / "file")
    assert tensors.keys() == {"sha256"}
    assert found == metadata


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"gateflow": "{}"}])
def test_files_of_older_versions_and_other_programs_have_no_checksum_and_are_read(tmp_path, metadata):
    save_file({"weight": torch.ones(2)}, tmp_path / "file", metadata)
    tensors, found = read_tensors(tmp_path / "file")
    assert torch.equal(tensors["weight"], torch.ones(2))
    assert found == (metadata or {})


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float16, torch.float64, torch.int64])
def test_weights_of_another_type_are_refused(file, dtype):
    tensors, _ = read_tensors(file)
    tensors["weight"] = tensors["weight"].to(dtype)
    found = rf"weight is {str(dtype)[6:]} \[2, 3\], config\.toml asks for float32 \[2, 3\]"
    with pytest.raises(RunError, match=found):
        load_weights(nn.Linear(3, 2), tensors, file)


def test_a_type_that_a_program_has_set_is_named(tmp_path):
    """Nothing in config.toml can be changed to mend it."""
    made = specs_of(unique_tensors(nn.Linear(3, 2, dtype=torch.float64)))
    for other, told in (
        (nn.Linear(3, 2), True),
        (nn.Linear(3, 4), False),
        (nn.Linear(3, 2, dtype=torch.cfloat), False),
    ):
        with pytest.raises(RunError, match="is float64") as caught:
            refuse_other_specs(made, specs_of(unique_tensors(other)), tmp_path)
        assert ("where torch.get_default_dtype() is torch.float32: set it as it was" in str(caught.value)) == told


def with_header(header, payload=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


HEADERS = {
    "no object": b"[]",
    "a number": b"7",
    "no JSON": b"{'a': 1}",
    "no UTF-8": b'{"\xff": {}}',
    "nested": b"[" * 100_000,
    "an empty entry": {"a": {}},
    "an entry that is none": {"a": 3},
    "a type of nobody": {"a": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}},
    "a negative shape": {"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}},
    "a shape of texts": {"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}},
    "an endless shape": {"a": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]}},
    "offsets of another": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "metadata of numbers": {"__metadata__": {"a": 1}},
    "metadata that are none": {"__metadata__": 3},
    "a checksum that is none": {"__metadata__": {"sha256": "mine"}},
    "numbers of many digits": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_none_is_damage(tmp_path, name):
    (tmp_path / "file").write_bytes(with_header(HEADERS[name], b"\0" * 4))
    for read in (read_tensors, read_header):
        if read is read_header and name in ("offsets of another", "a checksum that is none"):
            continue  # seen when the tensors are read
        with pytest.raises(RunError, match="file is damaged") as caught:
            read(tmp_path / "file")
        assert len(str(caught.value)) < 600


def test_a_large_header_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes((1 << 40).to_bytes(8, "little"))
    os.truncate(tmp_path / "file", 1 << 41)  # takes no room on the disk
    with pytest.raises(RunError, match="its header is larger than"):
        read_header(tmp_path / "file")


def test_a_large_file_is_refused_by_its_header(tmp_path):
    entry = {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}
    content = with_header({"weight": entry, "bias": entry})
    (tmp_path / "file").write_bytes(content)
    os.truncate(tmp_path / "file", len(content) + (1 << 41))
    wanted = specs_of(unique_tensors(nn.Linear(3, 2)))
    with pytest.raises(RunError, match=r"bias is \[274877906944\]|weight is \[274877906944\]"):
        read_tensors(tmp_path / "file", lambda header: refuse_other_specs(header.tensors, wanted, tmp_path))


def test_pipes_and_folders_are_no_weights(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(RunError, match="is damaged"):
            read_tensors(path)
