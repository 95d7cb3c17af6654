"""The windows: what follows what, what each process sees, and which texts are too short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.stream import IGNORED, TokenStream
from gateflow.errors import ConfigError, DataError


def numbers(folder: Path, count: int, dtype: type = np.uint16) -> Path:
    np.save(folder / "text.npy", np.arange(count).astype(dtype))
    return folder / "text.npy"


def test_the_state_after_a_window_fits_the_next(tmp_path):
    stream = TokenStream(numbers(tmp_path, 100), batch_size=3, window=7)
    windows = list(stream.windows())
    assert len(windows) == len(stream) == 5
    assert [inputs.shape for inputs, _ in windows] == [(7, 3)] * 4 + [(5, 3)]
    assert all(inputs.dtype == targets.dtype == torch.int64 for inputs, targets in windows)
    inputs = torch.cat([inputs for inputs, _ in windows])
    assert inputs.T.tolist() == [list(range(33)), list(range(33, 66)), list(range(66, 99))]
    assert torch.equal(torch.cat([targets for _, targets in windows]), inputs + 1)


def test_a_pass_can_begin_anywhere(tmp_path):
    stream = TokenStream(numbers(tmp_path, 100), batch_size=3, window=7)
    whole = list(stream.windows())
    for start in range(len(stream) + 1):
        rest = list(stream.windows(start))
        assert len(rest) == len(whole) - start
        assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_processes_together_see_what_one_sees(tmp_path, world_size):
    path = numbers(tmp_path, 100)
    alone = list(TokenStream(path, 6, 4).windows())
    shares = [list(TokenStream(path, 6, 4, rank=rank, world_size=world_size).windows()) for rank in range(world_size)]
    for window, parts in zip(alone, zip(*shares, strict=True), strict=True):
        for mine, theirs in zip(window, zip(*parts, strict=True), strict=True):
            assert torch.equal(mine, torch.cat(theirs, dim=1))


@given(count=st.integers(2, 60), batch_size=st.integers(1, 12), window=st.integers(1, 9))
def test_a_whole_pass_predicts_every_token_but_the_first_once(tmp_path_factory, count, batch_size, window):
    path = numbers(tmp_path_factory.mktemp("whole"), count)
    pairs = [
        (given, target)
        for inputs, targets in TokenStream(path, batch_size, window, whole=True).windows()
        for given, target in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True)
        if target != IGNORED
    ]
    assert sorted(pairs) == [(n, n + 1) for n in range(count - 1)]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_frequencies(tmp_path, dtype):
    path = tmp_path / "text.npy"
    np.save(path, np.array([3, 1, 3, 0, 3], dtype))
    frequencies = TokenStream(path, 1, 2).frequencies(5)
    assert frequencies.dtype == torch.int64
    assert frequencies.tolist() == [1, 1, 0, 3, 0]


def test_frequencies_of_a_text_counted_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("gateflow.data.stream._COUNTED_AT_ONCE", 7)
    assert TokenStream(numbers(tmp_path, 50), 1, 2).frequencies(51).tolist() == [1] * 50 + [0]


def test_the_file_is_mapped_not_loaded(tmp_path):
    assert isinstance(TokenStream(numbers(tmp_path, 50), 2, 3)._tokens, np.memmap)


def test_too_few_tokens_for_the_batch(tmp_path):
    path = numbers(tmp_path, 5)
    assert len(TokenStream(path, 4, 3)) == 1
    with pytest.raises(DataError, match=r"holds 5 tokens, too few for 8 columns .* --batch-size 4 or less"):
        TokenStream(path, 8, 3)


@pytest.mark.parametrize("whole", [True, False])
def test_one_token_corpus(tmp_path, whole):
    with pytest.raises(DataError, match="holds 1 token: nothing comes after it"):
        TokenStream(numbers(tmp_path, 1), 1, 1, whole=whole)


def test_sizes_that_cannot_work(tmp_path):
    path = numbers(tmp_path, 50)
    with pytest.raises(ConfigError, match="must be at least 1, not 0 and 3"):
        TokenStream(path, 0, 3)
    with pytest.raises(ConfigError, match="must be at least 1, not 3 and 0"):
        TokenStream(path, 3, 0)
    with pytest.raises(ConfigError, match="batch_size 5 cannot be shared evenly among 2 processes"):
        TokenStream(path, 5, 3, world_size=2)


def test_files_that_hold_no_tokens(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        TokenStream(tmp_path / "missing.npy", 1, 1)
    whole = numbers(tmp_path, 1000).read_bytes()
    for length in (0, 50, len(whole) // 2):
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(DataError, match="no whole token file"):
            TokenStream(tmp_path / "cut.npy", 1, 1)
    np.save(tmp_path / "floats.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"holds float64 \[2, 3\], not a row of token numbers"):
        TokenStream(tmp_path / "floats.npy", 1, 1)
