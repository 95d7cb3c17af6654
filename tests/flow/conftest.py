"""Cells run on the reference here, so that no kernel is built, unless a test asks for another path."""

import pytest

from gateflow.recurrence import force_path


@pytest.fixture(autouse=True)
def _reference():
    with force_path("reference"):
        yield
