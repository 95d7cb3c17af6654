"""metrics.jsonl survives a torn line and forgets what will be recorded again."""

import pytest

from gateflow.errors import RunError
from gateflow.training.metrics import MetricsLog


def test_a_torn_last_line_does_not_count(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1, "loss": 1.5})
    with log.path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert log.read() == [{"step": 1, "loss": 1.5}]
    log.cut_back(to_step=5)
    log.append({"step": 2, "loss": 1.25})
    assert log.path.read_text() == '{"step": 1, "loss": 1.5}\n{"step": 2, "loss": 1.25}\n'


def test_a_damaged_line_is_reported_and_nothing_lost(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text("not json\n")
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged"):
        log.cut_back(to_step=5)
    assert log.path.read_text() == "not json\n"


def test_no_file_is_no_records(tmp_path):
    assert MetricsLog(tmp_path / "metrics.jsonl").read() == []
