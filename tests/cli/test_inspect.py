"""`gateflow inspect`: what is refused before anything is opened. That it answers is tried in `tests/inspector`."""

from __future__ import annotations

import sys

import pytest

from gateflow.cli import main
from gateflow.inspector import server


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, words)])
    return ended.value.code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "my-server"])
def test_addresses_that_others_reach_are_refused(capsys, tmp_path, host):
    code, said = refused(capsys, tmp_path, "--host", host)
    assert code == 2
    assert "can be reached from other machines" in said
    assert "--allow-remote" in said


def test_what_is_missing_is_said(capsys, tmp_path, monkeypatch):
    code, said = refused(capsys, tmp_path / "nothing")
    assert (code, "there is no run at" in said) == (1, True)
    monkeypatch.delitem(sys.modules, "gateflow.inspector.server.serve", raising=False)
    monkeypatch.delattr(server, "serve", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, said = refused(capsys, tmp_path)
    assert (code, "pip install 'gateflow[inspect]'" in said) == (2, True)
