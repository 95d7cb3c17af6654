"""Parts of data: each item in one of them, and each group on one side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.parts import divided
from gateflow.errors import DataError

SHARES = st.floats(0.001, 0.999)


@given(st.integers(2, 80), SHARES)
def test_without_groups_the_last_items_are_held_out(count, share):
    train, valid, *_ = divided(range(count), share, source="file", item="line")
    assert train + valid == list(range(count))
    assert abs(len(valid) - share * count) <= 1
    assert valid


@given(st.lists(st.integers(0, 9), min_size=2, max_size=80).filter(lambda found: len(set(found)) > 1), SHARES)
def test_no_group_is_on_both_sides(groups, share):
    items = list(enumerate(groups))
    parts = divided(items, share, groups, source="file", item="line")
    assert sorted(parts.train + parts.valid) == items
    assert parts.train == sorted(parts.train)
    of_train, of_valid = ({group for _, group in part} for part in (parts.train, parts.valid))
    assert of_train
    assert of_valid
    assert not of_train & of_valid
    assert (parts.groups, parts.held_out) == (len(set(groups)), len(of_valid))


def test_a_group_that_is_most_of_the_file_is_learnt_from_wherever_it_stands():
    groups = ["a"] * 5 + ["b"] * 90 + ["c"] * 5 + ["d"] * 200
    parts = divided(groups, 0.02, groups, source="file", item="line")
    assert set(parts.valid) == {"c"}


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(DataError, match="mine has one text, so none can be held out; give a second file with --valid"):
        divided(["a"], 0.5, source="mine", item="text")
    with pytest.raises(DataError, match="mine has one group, so none can be held out; leave --group out"):
        divided(["a", "b"], 0.5, [1, 1], source="mine", item="text")
