"""The agreement study: training teaches agreement, in one process as in two, and what is kept is a run."""

import pytest

from gateflow.data.agreement import split
from gateflow.errors import ConfigError, UnknownCellError
from gateflow.studies.agreement import flow_report, train_all
from gateflow.studies.agreement_training import AgreementBudget, Entry, train, train_one
from gateflow.tasks.agreement.model import AgreementModel, accuracy, bucket


def test_near_agreement_is_learned():
    """The next word but a few: any cell learns that, so that chance elsewhere is not the trainer's fault."""
    near, test = split(32 * 250, 300, seed=0, train_buckets=[range(1, 4)])
    model = AgreementModel("gru", hidden_size=32)
    curve = train(model, near, AgreementBudget(word_share=0.1))
    assert len(curve) == 250
    assert accuracy(model, [s for s in test if s.distance < 4], bucket)[0] > 0.95


def test_the_study_is_the_same_in_one_process_and_in_two():
    tiny = AgreementBudget(updates=2, hidden_size=4)
    entries = [Entry("lstm", "all", 0, tiny), Entry("lstm:chrono", "far", 1, tiny)]
    reports = []
    alone, together = train_all(entries, 1, reports.append), train_all(entries, 2, lambda done: None)
    assert reports == [1, 2, 3, 4]
    for a, b in zip(alone, together, strict=True):
        assert (a.config, a.accuracy, a.reach_after) == (b.config, b.accuracy, b.reach_after)


def test_chrono_starts_with_more_reach_than_torchs_usual_weights():
    tiny = AgreementBudget(updates=1, hidden_size=16)
    usual, chrono = (train_one(Entry(name, "all", 0, tiny)).reach_before for name in ("lstm", "lstm:chrono"))
    assert chrono[-1] > 1e-3 > 1e-6 > usual[-1]


def test_unknown_configurations_are_refused():
    with pytest.raises(UnknownCellError, match="lstn"):
        Entry("lstn", "all", 0)
    with pytest.raises(ConfigError, match=r"'lstm:crono'.*'crono'.*chrono"):
        Entry("lstm:crono", "all", 0)


def test_the_report_names_commands_of_its_own_task():
    lines = [line for finding in flow_report("lstm").findings for line in finding.lines]
    assert "gateflow train agreement --init chrono:60" in lines
    assert not any("gateflow train lm" in line for line in lines)
