"""A label for each step: in its place, whatever the lengths and the batch; one that is missing counts for nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from tests.tasks.classifier.conftest import config_of, train
from tests.tasks.classifier.numbers import series

from gateflow import Classifier
from gateflow.errors import DataError, DataWarning
from gateflow.tasks.classifier.batches import Encoded
from gateflow.tasks.classifier.data import own_examples, set_up
from gateflow.tasks.classifier.evaluation import evaluate_run
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.classifier.prediction import predict
from gateflow.tasks.classifier.task import ClassifierTask
from gateflow.tasks.description import Given

NETWORK = {"hidden_size": 6, "read_out": "max", "embedding_size": 100, "word_dropout": 0.1, "dropout": 0.0}
TRAINING = {"epochs": 8}


def steps_file(path, count=30, seed=0, unknown=0.3, regression=False):
    """Ragged series of which each step is high or low, or has a number; some are not known."""
    random = np.random.default_rng(seed)
    found = [values for values, _ in series(count, seed)]
    longest = max(map(len, found))
    x, y = np.zeros((count, longest, 2)), np.full((count, longest), np.nan)
    for i, values in enumerate(found):
        x[i, : len(values)] = values
        wanted = values[:, 0] * 3 + 5 if regression else values[:, 0] > 1
        y[i, : len(values)] = np.where(random.random(len(values)) < unknown, np.nan, wanted)
    np.savez(path, x=x, y=y, lengths=list(map(len, found)))
    return path


@pytest.fixture(scope="module")
def of_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    data = {"train": steps_file(folder / "a.npz"), "per_step": True}
    return train(folder / "run", data, NETWORK, TRAINING), folder


def test_labels_stand_at_their_steps(of_steps):
    run, _ = of_steps
    learnt = load(run)
    assert learnt.targets.names == ("0.0", "1.0"), "NaN is no label"
    rows = own_examples(run, learnt.targets, "train")
    encoded = Encoded(learnt.encoder, rows, learnt.targets)
    batch = encoded.batch([3, 0, 7])
    one_after_the_other = [encoded.batch([i]) for i in (3, 0, 7)]
    assert batch.targets.tolist() == [x for each in one_after_the_other for x in each.targets.tolist()]
    with torch.no_grad():
        together, alone = learnt.model(batch), torch.cat([learnt.model(each) for each in one_after_the_other])
    assert torch.allclose(together, alone, atol=1e-5)
    assert [len(each) for each in predict(learnt, rows)] == list(map(len, rows))


def test_the_loss_and_the_figures_leave_out_what_is_not_known(of_steps, tmp_path):
    run, folder = of_steps
    learnt, task = load(run), ClassifierTask(run, run.config())
    rows = own_examples(run, learnt.targets, "train")
    batch = task.train.batch(range(5))
    loss, count, _ = task.loss(task.model, batch, None)
    there = batch.targets >= 0
    assert 0 < count == int(there.sum()) < len(there)
    judged = torch.nn.functional.cross_entropy(task.model(batch)[there], batch.targets[there])
    assert float(loss.detach()) == pytest.approx(float(judged.detach()), rel=1e-5)
    given = {"predictions": tmp_path / "out", "text": None, "label": None, "batch_size": 7}
    found = evaluate_run(Given(run), data=folder / "a.npz", **given).json
    lines = [line.split("\t") for line in (tmp_path / "out").read_text().splitlines()[1:]]
    wanted = np.load(folder / "a.npz")
    gold = [y[: int(n)] for y, n in zip(wanted["y"], wanted["lengths"], strict=True)]
    assert [line[0] for line in lines] == ["" if np.isnan(x) else str(x) for x in np.concatenate(gold)]
    known = [(line[0], line[1]) for line in lines if line[0]]
    assert found["accuracy"] == pytest.approx(np.mean([a == b for a, b in known]))
    assert found["accuracy"] > 0.7
    assert found["examples"] == len(known)
    assert len(rows) == 27
    valid = own_examples(run, learnt.targets, "valid")
    assert found["new_series"]["examples"] == sum(str(label) != "" for row in valid for label in row.labels)


def test_steps_beyond_the_longest_are_neither_learnt_nor_weighed(tmp_path):
    data = {"train": steps_file(tmp_path / "a.npz", unknown=0.0), "per_step": True, "longest": 3}
    with pytest.warns(DataWarning, match="more than 3 steps"):
        run = set_up(tmp_path / "run", config_of(data, NETWORK, {"class_weights": "balanced"}))
    task = ClassifierTask(run, run.config())
    rows = own_examples(run, task.targets, "train")
    cut = [label for row in rows for label in row.labels[:3]]
    assert [task.targets.names[k] for k in task.train.all_targets().tolist()] == cut
    judged = [len(cut) / 2 / cut.count(name) for name in task.targets.names]
    assert task.weights.tolist() == pytest.approx(judged)


def test_a_batch_without_a_label_changes_nothing_and_is_no_error(tmp_path):
    steps_file(tmp_path / "a.npz")
    arrays = dict(np.load(tmp_path / "a.npz"))
    arrays["y"][:26] = np.nan
    np.savez(tmp_path / "b.npz", **arrays)
    data = {"train": tmp_path / "b.npz", "per_step": True, "valid": tmp_path / "a.npz"}
    with pytest.warns(DataWarning, match="are in the training part too"):
        run = train(tmp_path / "run", data, NETWORK, {"epochs": 2, "batch_size": 2})
    assert all(bool(x.isfinite().all()) for x in load(run).model.parameters())


@pytest.mark.parametrize("regression", [False, True])
def test_two_processes_learn_and_validate_as_one_does(tmp_path, regression):
    data = {"train": steps_file(tmp_path / "a.npz", regression=regression), "per_step": True, "regression": regression}
    run = set_up(tmp_path / "run", config_of(data, NETWORK))
    gradients, counts, sums = [], [], []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        task = ClassifierTask(run, run.config(), rank, size)
        torch.manual_seed(0)
        for weight in task.model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        loss, count, _ = task.loss(task.model, next(task.batches(0, 0)), None)
        loss.backward()
        gradients.append(task.model.recurrent.weight_hh_l0.grad)
        counts.append(count)
        sums.append(task.validate(task.model))
    assert counts[0] == counts[1] + counts[2]
    together = (counts[1] * gradients[1] + counts[2] * gradients[2]) / counts[0]
    torch.testing.assert_close(together, gradients[0], rtol=1e-4, atol=1e-7)
    assert sums[0][1] == sums[1][1] + sums[2][1]
    for name, whole in sums[0][0].items():
        assert sums[1][0][name] + sums[2][0][name] == pytest.approx(whole, rel=1e-5, abs=1e-9), name


def last_validation(run):
    from gateflow.training.metrics import MetricsLog

    return [record for record in MetricsLog(run.metrics_file).read() if record["kind"] == "valid"]


def test_numbers_of_steps_have_the_figures_of_scikit_learn(tmp_path):
    file = steps_file(tmp_path / "a.npz", regression=True)
    run = train(tmp_path / "run", {"train": file, "per_step": True, "regression": True}, NETWORK, {"epochs": 15})
    given = {"predictions": tmp_path / "out", "text": None, "label": None, "batch_size": 7}
    found = evaluate_run(Given(run), data=None, **given).json
    pairs = [line.split("\t")[:2] for line in (tmp_path / "out").read_text().splitlines()[1:]]
    gold, ours = np.array([pair for pair in pairs if pair[0]], dtype=float).T
    assert found["mae"] == pytest.approx(mean_absolute_error(gold, ours), rel=1e-6)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(gold, ours), rel=1e-6)
    assert found["r2"] == pytest.approx(r2_score(gold, ours), rel=1e-6)
    best = min(last_validation(run), key=lambda record: record["rmse"])
    for name in ("mae", "rmse", "r2"):
        assert best[name] == pytest.approx(found[name], rel=1e-4), name


def test_arrays_in_python(tmp_path):
    X = [values for values, _ in series(24)]
    y = [[int(row[0] > 1) if k else "" for k, row in enumerate(values)] for values in X]
    classifier = Classifier(**{**NETWORK, "epochs": 5}, per_step=True).fit(X, y)
    assert classifier.classes_.tolist() == [0, 1]
    assert [found.shape for found in classifier.predict(X)] == [(len(values),) for values in X]
    assert [found.shape for found in classifier.predict_proba(X)] == [(len(values), 2) for values in X]
    pairs = [
        (a, b) for gold, found in zip(y, classifier.predict(X), strict=True) for a, b in zip(gold, found, strict=True)
    ]
    assert classifier.score(X, y) == pytest.approx(np.mean([a == b for a, b in pairs if a != ""]))
    with pytest.raises(DataError, match="series 0 has .* steps and 1 labels"):
        Classifier(per_step=True).fit(X, [[1]] * 24)
