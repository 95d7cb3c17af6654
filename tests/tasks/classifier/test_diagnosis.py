"""`gateflow diagnose` of a classifier speaks of labels and words, and of how far before the end they stand."""

import pytest
import torch
from tests.tasks.classifier.conftest import train

from gateflow.data.labelled import LabelledText, read_labelled
from gateflow.tasks.classifier.batches import Batch
from gateflow.tasks.classifier.diagnosis import diagnose_run, encoded, label_shares
from gateflow.tasks.classifier.evaluation import evaluate
from gateflow.tasks.classifier.loading import load


def shares(run, text, label):
    learnt = load(run)
    batch = encoded(learnt, [LabelledText(text, (label,), 1)])
    return label_shares(learnt.model, batch), batch


def test_the_gradient_of_a_label_comes_from_the_words_that_decide(trained):
    found, _ = shares(trained, "the film the plot an actor not good the film the plot", "pos")
    assert float(found.sum()) == pytest.approx(1)
    assert float(found[6:8].sum()) > 2 / 12, "more than their share"


def test_shares_are_those_of_finite_differences(trained):
    learnt = load(trained)
    model = learnt.model.double()
    batch = encoded(learnt, [LabelledText("the film not good", ("pos",), 1)])
    vectors, steps = model.vectors(batch).detach(), torch.zeros(4, dtype=torch.float64)
    for t in range(4):
        moved = vectors.repeat(1, 2 * vectors.shape[2], 1)
        for i in range(vectors.shape[2]):
            moved[t, 2 * i, i] += 1e-5
            moved[t, 2 * i + 1, i] -= 1e-5
        scores = model.scores(moved, Batch(moved, batch.lengths.repeat(moved.shape[1])))
        nats = torch.nn.functional.cross_entropy(scores, batch.targets.repeat(moved.shape[1]), reduction="none")
        steps[t] = ((nats[::2] - nats[1::2]) / 2e-5).norm()
    torch.testing.assert_close(label_shares(model, batch), steps / steps.sum(), rtol=1e-4, atol=1e-6)


def test_a_report_names_words(trained, files, tmp_path):
    for data in (None, files[0]):
        report = diagnose_run(trained, data)
        (told,) = [finding for finding in report.findings if finding.name == "label-gradient"]
        assert "Of the gradient of the label '" in told.says
        assert " arrives at '" in told.says
        assert "before the end" in told.says
        assert "Nine tenths of it arrive within the last " in told.says
    assert report.save(tmp_path / "flow.html").stat().st_size > 10_000


def test_a_report_has_the_confusions_that_an_evaluation_counts(trained, files):
    learnt, examples = load(trained), list(read_labelled(files[0]))
    (table,) = diagnose_run(trained, files[0]).tables
    confusion = evaluate(learnt, examples).measures.confusion()
    assert (table.rows, table.columns, table.counts) == (confusion.rows, confusion.columns, confusion.counts)
    assert sum(map(sum, table.counts)) == len(examples)
    assert f"Over {len(examples)} texts: " in table.reading


def test_confusions_are_counted_of_all_that_is_read_and_not_of_what_is_followed_back(trained, files, monkeypatch):
    whole = diagnose_run(trained, files[0]).tables
    monkeypatch.setattr("gateflow.tasks.classifier.diagnosis.LONGEST", 2)
    assert diagnose_run(trained, files[0]).tables == whole


def test_of_a_large_file_examples_all_over_it_are_judged(trained, files, monkeypatch):
    monkeypatch.setattr("gateflow.tasks.diagnosis.JUDGED", 40)
    (table,) = diagnose_run(trained, files[0]).tables
    assert sum(map(sum, table.counts)) == 38  # every fourth of 150


def test_several_labels_are_followed_back_too(tmp_path):
    from tests.tasks.classifier.texts import topics, write

    data = {"train": write(tmp_path / "a", topics(40)), "multi_label": True}
    report = diagnose_run(train(tmp_path / "run", data, {"read_out": "mean"}, {"epochs": 1}))
    assert any(finding.name == "label-gradient" for finding in report.findings)
    assert report.tables == ()
