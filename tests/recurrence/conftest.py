"""What the tests of streams share."""

import pytest

from gateflow.recurrence import Stream


@pytest.fixture
def taken(monkeypatch):
    """How many steps the stream itself took."""
    seen, step = [], Stream.step

    def counted(self, *tensors):
        new = step(self, *tensors)
        seen.extend([] if new is None else [self])
        return new

    monkeypatch.setattr(Stream, "step", counted)
    return seen
