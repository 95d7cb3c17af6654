"""`gateflow inspect`: what is refused before anything is opened. That it answers is tried in `tests/inspector`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from gateflow.cli import main
from gateflow.tasks.language_model.config import LanguageModelConfig


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
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, said = refused(capsys, tmp_path)
    assert (code, "pip install 'gateflow[inspect]'" in said) == (2, True)


def test_what_can_be_told_at_once_is_told_before_torch_is_loaded(tmp_path):
    """Seconds pass while torch is loaded: nobody should wait them for a refusal."""
    for name, model in (("recurrent", "recurrent"), ("transformer", "transformer")):
        (tmp_path / name).mkdir()
        config = {"data": {"train": "a.txt"}, "model": {"model": model}}
        (tmp_path / name / "config.toml").write_text(LanguageModelConfig.build(config).to_toml())
    run, transformer = str(tmp_path / "recurrent"), str(tmp_path / "transformer")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wrong = {
            "there is no run at": [str(tmp_path / "nothing")],
            "can be reached from other machines": [run, "--host", "0.0.0.0"],
            "is a Transformer": [transformer],
            "nofile": [run, "--pairs", str(tmp_path / "nofile")],
            "choose others": [run, "--port", str(taken.getsockname()[1])],
        }
        script = """
import contextlib, io, json, sys
sys.argv[0] = "gateflow"
from gateflow.cli import main
for said, words in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.suppress(SystemExit):
        main(["inspect", *words])
    text = " ".join(told.getvalue().split())
    assert said in text, (said, text)
    assert "torch" not in sys.modules, said
"""
        subprocess.run([sys.executable, "-c", script, json.dumps(wrong)], check=True, timeout=60)
