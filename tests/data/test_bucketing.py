"""Batches of about one length: every sequence once, decided by seed and epoch, shared by processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.bucketing import LengthBuckets
from gateflow.errors import ConfigError

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 20), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_each_sequence_is_in_one_batch_of_an_epoch(lengths, size, processes, seed, epoch):
    if min(size, len(lengths)) < processes:
        return
    ranks = [LengthBuckets(lengths, size, seed, rank=rank, world_size=processes) for rank in range(processes)]
    shares = [list(buckets.batches(epoch)) for buckets in ranks]
    assert {len(share) for share in shares} == {len(ranks[0])}
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(len(lengths)))
    assert all(batch for share in shares for batch in share)
    whole = list(LengthBuckets(lengths, size, seed).batches(epoch))
    if processes == 1 or len(lengths) % size == 0 or len(lengths) % size >= processes:
        assert [sorted(i for batch in batches for i in batch) for batches in zip(*shares, strict=True)] == [
            sorted(b) for b in whole
        ]


@given(LENGTHS, st.integers(1, 20), st.integers(0, 40))
def test_from_any_batch_on_it_goes_on_alike(lengths, size, start):
    buckets = LengthBuckets(lengths, size, seed=3)
    assert list(buckets.batches(2, start)) == list(buckets.batches(2))[start:]


def test_epochs_and_seeds_have_orders_of_their_own():
    lengths = list(range(1, 1001))
    orders = [list(LengthBuckets(lengths, 10, seed).batches(epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(map(tuple, order)) for order in orders}) == 4


def test_hardly_anything_is_padding():
    lengths = [1 + (i * i) % 60 for i in range(5000)]
    batches = list(LengthBuckets(lengths, 32, seed=0).batches(0))
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)


def test_a_process_without_a_sequence_is_refused():
    with pytest.raises(ConfigError, match="the data: 2 sequences cannot be shared among 3 processes"):
        LengthBuckets([3, 4], 8, 0, world_size=3)
    with pytest.raises(ConfigError, match="--batch-size 2: 2 sequences cannot be shared among 3 processes"):
        LengthBuckets([3, 4, 5, 6], 2, 0, world_size=3)
