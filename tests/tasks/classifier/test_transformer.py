"""A classifier of a Transformer: texts and series, whole ones and each step, as with recurrent layers."""

import pytest
import torch
from tests.tasks.classifier.conftest import train
from tests.tasks.classifier.numbers import series, table
from tests.tasks.classifier.test_per_step import steps_file

from gateflow import Classifier
from gateflow.data.labelled import LabelledText
from gateflow.errors import ConfigError
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.diagnosis import diagnose_run, encoded, label_shares, reach_to_inputs
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.classifier.prediction import predict

MODEL = {"model": "transformer", "heads": 2, "read_out": "mean"}
TRAINING = {"epochs": 20, "lr": 0.01}


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory, files):
    return train(tmp_path_factory.mktemp("runs") / "run", {"train": files[0], "valid": files[1]}, MODEL, TRAINING)


def test_it_learns_and_answers_alike_in_any_batch(of_texts):
    learnt = load(of_texts)
    texts = own_examples(of_texts, learnt.targets, "valid")
    answers = [answer for (answer,) in predict(learnt, texts, batch_size=32)]
    assert sum(
        list(answer.labels) == list(text.labels) for answer, text in zip(answers, texts, strict=True)
    ) > 0.8 * len(texts)
    more = [*texts, LabelledText("", (), 1), LabelledText("word " * 300, (), 2)]
    one, many = ([answer for (answer,) in predict(learnt, more, batch_size=size)] for size in (1, 32))
    assert [answer.labels for answer in one] == [answer.labels for answer in many]
    for a, b in zip(one, many, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
    loaded = Classifier.load(of_texts.path)
    assert (loaded.model, loaded.heads) == ("transformer", 2)
    assert list(loaded.predict([text.text for text in texts])) == [answer.labels[0] for answer in answers]


def test_its_report_has_reach_to_the_inputs(of_texts):
    report = diagnose_run(of_texts)
    assert {finding.name for finding in report.findings} == {"no-recurrence", "label-gradient"}
    learnt = load(of_texts)
    example = LabelledText("the film not good", ("pos",), 1)
    norms = reach_to_inputs(learnt.model, encoded(learnt, [example])).norms[0, :, 0]
    assert torch.allclose(norms / norms.sum(), label_shares(learnt.model, encoded(learnt, [example])), atol=1e-6)


def test_each_step_of_a_series(tmp_path):
    data = {"train": steps_file(tmp_path / "a.npz"), "per_step": True}
    run = train(
        tmp_path / "run", data, MODEL | {"embedding_size": 100, "read_out": "max", "word_dropout": 0.1}, TRAINING
    )
    assert diagnose_run(run).findings[0].name == "no-recurrence"
    learnt = load(run)
    rows = own_examples(run, learnt.targets, "valid")[:3]
    together = reach_to_inputs(learnt.model, encoded(learnt, rows))
    for b, row in enumerate(rows):
        alone = reach_to_inputs(learnt.model, encoded(learnt, [row]))
        length = len(row)
        assert torch.allclose(together.norms[:length, :length, b], alone.norms[..., 0], atol=1e-6, equal_nan=True)
        assert not together.norms[:, length:, b].nan_to_num().any()


def test_what_it_cannot_read_is_refused(tmp_path, files, of_texts):
    file = table(tmp_path / "a.csv", series(20), missing=0.3)
    other = MODEL | {"embedding_size": 100, "word_dropout": 0.1}
    with pytest.raises(ConfigError, match="a Transformer makes NaN of them; take --cell gru_d"):
        train(tmp_path / "run", {"train": file, "missing": "cell"}, other | {"cell": "gru_d"}, TRAINING)
    with pytest.raises(ConfigError, match="--from-lm gives recurrent layers their weights"):
        train(tmp_path / "run", {"train": files[0], "from_lm": tmp_path}, MODEL, TRAINING)
