"""Decoding by CTC has two paths, which must give the same."""

import pytest

from gateflow.backends.cpu import ctc
from gateflow.decoding.ctc import native


@pytest.fixture(params=["native", "numpy"])
def path(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(native, "is_there", lambda: False)
    else:
        assert ctc.obstacle() is None
    return request.param
