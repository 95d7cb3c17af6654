"""A classifier learns what is asked of it, from any tokens, by any read-out; and goes on as if never stopped."""

import json

import numpy as np
import pytest
import torch
from tests.tasks.classifier.conftest import config_of, go_on, train
from tests.tasks.classifier.texts import opinions, topics, write, write_json
from tests.training.test_loop import StopAfter, metrics

from gateflow.errors import ConfigError
from gateflow.tasks.classifier.class_weights import class_weights
from gateflow.tasks.classifier.data import own_examples, set_up
from gateflow.tasks.classifier.evaluation import evaluate
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.classifier.task import ClassifierTask


def measured(run):
    learnt = load(run)
    return evaluate(learnt, own_examples(run, learnt.targets, "valid")).measures


def test_the_order_of_words_decides(trained):
    assert measured(trained).accuracy > 0.95


def test_what_training_says_of_the_validation_is_what_evaluate_finds(trained):
    found = [record for record in metrics(trained) if record["kind"] == "valid"]
    best = max(found, key=lambda record: record["accuracy"])
    measures = measured(trained)
    assert measures.accuracy == pytest.approx(best["accuracy"])
    assert measures.macro().f1 == pytest.approx(best["macro_f1"])
    assert load(trained).model.temperature == pytest.approx(best["temperature"])
    assert not any(name.startswith("_") for record in found for name in record)


@pytest.mark.parametrize(
    "options",
    [{"read_out": "last"}, {"read_out": "mean", "cell": "gru"}, {"read_out": "max", "layers": 2, "skip": "residual"}],
)
def test_other_networks_learn_too(files, tmp_path, options):
    run = train(tmp_path / "run", {"train": files[0], "valid": files[1]}, options)
    assert measured(run).accuracy > 0.85


@pytest.mark.parametrize("tokenizer", ["char", "jamo", "bpe"])
def test_other_tokens_are_learnt_from(files, tmp_path, tokenizer):
    data = {"train": files[0], "valid": files[1], "tokenizer": tokenizer}
    data |= {"vocab_size": 300} if tokenizer == "bpe" else {}
    run = train(tmp_path / "run", data, {"read_out": "max"}, {"epochs": 9})
    assert measured(run).accuracy > 0.65
    assert run.tokenizer_file.exists() == (tokenizer == "bpe")


def test_several_labels_of_a_text_with_thresholds(tmp_path):
    rows = topics(170)
    files = {"train": write(tmp_path / "a", rows[:130]), "valid": write_json(tmp_path / "b", rows[130:])}
    run = train(tmp_path / "run", {**files, "multi_label": True}, {"read_out": "max"}, {"epochs": 10})
    measures = measured(run)
    best = max(record["micro_f1"] for record in metrics(run) if record["kind"] == "valid")
    assert measures.micro().f1 == pytest.approx(best)
    assert best > 0.9
    asked = train(
        tmp_path / "asked", {**files, "multi_label": True}, {"read_out": "max"}, {"epochs": 1, "threshold": 0.999}
    )
    assert not any(measured(asked).given), "nothing is that certain after one epoch"


def untimed(record):
    return {name: value for name, value in record.items() if name != "texts_per_second"}


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(files, tmp_path):
    options = {"epochs": 3, "average": 0.9, "checkpoint_every": 5, "class_weights": "balanced", "label_smoothing": 0.1}
    config = config_of({"train": files[0]}, {"word_dropout": 0.2, "dropout": 0.3}, options)
    whole, stopped = (set_up(tmp_path / name, config) for name in ("whole", "stopped"))
    go_on(whole)
    for stop in (3, 9, None):
        go_on(stopped, () if stop is None else (StopAfter(stop),))
    assert [untimed(record) for record in metrics(whole)] == [untimed(record) for record in metrics(stopped)]
    assert whole.model_file.read_bytes() == stopped.model_file.read_bytes()


@pytest.mark.parametrize("multi_label", [False, True])
def test_two_processes_learn_and_validate_as_one_does(tmp_path, multi_label):
    rows = topics(60) if multi_label else list(dict.fromkeys(opinions(80)))[:60]
    data = {"train": write(tmp_path / "a", rows[:30]), "valid": write(tmp_path / "b", rows[30:])}
    training = {"class_weights": "balanced", "label_smoothing": 0.1}
    run = set_up(tmp_path / "run", config_of({**data, "multi_label": multi_label}, {"dropout": 0.0}, training))
    gradients, counts, sums = [], [], []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        torch.manual_seed(0)
        task = ClassifierTask(run, run.config(), rank, size)
        loss, count, _ = task.loss(task.model, next(task.batches(0, 0)), None)
        loss.backward()
        gradients.append(task.model.recurrent.weight_hh_l0.grad)
        counts.append(count)
        sums.append(task.validate(task.model))
    together = (counts[1] * gradients[1] + counts[2] * gradients[2]) / counts[0]
    torch.testing.assert_close(together, gradients[0], rtol=1e-4, atol=1e-7)
    assert sums[0][1] == sums[1][1] + sums[2][1]
    for name, whole in sums[0][0].items():
        assert sums[1][0][name] + sums[2][0][name] == pytest.approx(whole, rel=1e-5), name


def test_words_begin_from_vectors(files, tmp_path):
    vectors = tmp_path / "words.vec"
    vectors.write_text("good " + "0.5 " * 11 + "1\n" + "".join(f"{word} {'3 ' * 12}\n" for word in ("bad", "dull")))
    run = train(tmp_path / "run", {"train": files[0], "embeddings": vectors}, {"frozen": True}, {"epochs": 1})
    learnt = load(run)
    assert learnt.model.embedding.weight[learnt.encoder.vocabulary.number("Good")].tolist() == [0.5] * 11 + [1]
    with pytest.raises(ConfigError, match="--tokenizer word"):
        config_of({"train": files[0], "tokenizer": "char", "embeddings": vectors})


def test_class_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a"] * 5 + ["b"] * 2 + ["c"]
    judged = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert class_weights("balanced", {"a": 5, "b": 2, "c": 1}, 8) == pytest.approx(judged.tolist())
    assert class_weights("c=3,a=0.5", {"a": 5, "b": 2, "c": 1}, 8) == [0.5, 1.0, 3.0]
    assert class_weights("balanced", {"a": 2}, 8, multi_label=True) == [3.0]
    with pytest.raises(ConfigError, match="no text has the label 'd'"):
        class_weights("d=1", {"a": 5}, 5)


def test_class_weights_weigh_the_loss(files, tmp_path):
    run = set_up(tmp_path / "run", config_of({"train": files[0]}, {"dropout": 0.0}, {"class_weights": "pos=3"}))
    task = ClassifierTask(run, run.config())
    batch = next(task.batches(0, 0))
    nats = torch.nn.functional.cross_entropy(task.model(batch), batch.targets, reduction="none")
    wanted = (nats * torch.tensor([1.0, 3.0])[batch.targets]).mean()
    torch.testing.assert_close(task.loss(task.model, batch, None)[0], wanted)


def test_labels_of_a_run_keep_their_kind(tmp_path):
    rows = [(text, int(label == "pos")) for text, label in opinions(40)]
    run = set_up(tmp_path / "run", config_of({"train": write_json(tmp_path / "a", rows)}))
    assert json.loads(run.labels_file.read_text()) == {
        "names": ["0", "1"],
        "multi_label": False,
        "integers": True,
        "truths": False,
        "per_step": False,
    }
