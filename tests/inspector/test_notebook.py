"""The page in a notebook: questions come as messages of a widget."""

from __future__ import annotations

import pytest
from tests.inspector.conftest import TEXT

import gateflow
from gateflow.errors import ConfigError
from gateflow.inspector.notebook import answer


def test_messages_are_answered(session):
    sent = []
    answer(session, {"id": 1, "kind": "about"}, sent.append)
    answer(session, {"id": 2, "kind": "ask", "view": "read", "question": {"text": TEXT}}, sent.append)
    answer(session, {"id": 3, "kind": "ask", "view": "read", "question": {"text": "dodo"}}, sent.append)
    answer(session, {"id": 4, "kind": "ask", "view": "reach", "question": {"text": TEXT}}, sent.append)
    by_number = {message["id"]: message for message in sent}
    assert by_number[1]["answer"]["runs"][0]["task"] == "agreement"
    assert by_number[2]["answer"]["tokens"] == TEXT.split()
    assert "dodo" in by_number[3]["error"]
    assert by_number[4]["answer"]["layers"]


def test_a_run_is_a_widget_with_the_same_page(runs):
    pytest.importorskip("anywidget")
    widget = gateflow.inspect(*runs[:1], compare=runs[1])
    assert "export default" in widget._esm
    assert ".gateflow-inspector" in widget._css
    widget.close()


def test_a_module_needs_a_tokenizer():
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        gateflow.inspect(gateflow.LSTM(3, 4))
