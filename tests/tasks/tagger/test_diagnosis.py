"""`gateflow diagnose` of a tagger speaks of words and labels."""

import pytest
import torch
from tests.tasks.tagger.conftest import train

from gateflow.tasks.tagger.diagnosis import diagnose_run, label_shares
from gateflow.tasks.tagger.evaluation import evaluate
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.task import own_sentences


def shares(run, t):
    vocabulary = load_vocabulary(run)
    sentence = max(own_sentences(run, vocabulary, "valid"), key=lambda s: len(s.words))
    return label_shares(load_model(run, vocabulary), vocabulary, sentence, "tag", t)


def test_the_gradient_of_a_label_comes_from_both_sides(trained):
    found = shares(trained, 3)
    assert float(found.sum()) == pytest.approx(1)
    assert found[:3].sum() > 0
    assert found[4:].sum() > 0


def test_from_the_right_nothing_arrives_at_a_network_that_reads_forwards(files, tmp_path):
    run = train(tmp_path / "run", {"train": files[0]}, {"bidirectional": False, "crf": False}, {"epochs": 1})
    assert torch.equal(shares(run, 3)[4:], torch.zeros_like(shares(run, 3)[4:]))
    (told,) = [finding for finding in diagnose_run(run).findings if finding.name == "label-gradient"]
    assert "0 % to the right" in told.says
    assert "reads forwards only" in told.remedy


def test_a_report_names_words(trained, tmp_path):
    report = diagnose_run(trained)
    (told,) = [finding for finding in report.findings if finding.name == "label-gradient"]
    assert "Of the gradient of the label" in told.says
    assert "step" in told.says
    assert report.save(tmp_path / "flow.html").stat().st_size > 10_000
    vocabulary = load_vocabulary(trained)
    found = evaluate(load_model(trained, vocabulary), vocabulary, own_sentences(trained, vocabulary, "valid"))
    assert {table.name: table.counts for table in report.tables} == {
        name: measures.confusion().counts for name, measures in found.measures.items()
    }
