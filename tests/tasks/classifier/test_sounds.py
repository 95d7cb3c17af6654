"""Sounds of classes in folders and lists: read as the training's were, whatever their rate; bad ones are named."""

import numpy as np
import pytest
import soundfile
from tests.tasks.classifier.conftest import config_of, train

from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.tasks.classifier.data import own_examples, set_up
from gateflow.tasks.classifier.evaluation import evaluate_run
from gateflow.tasks.classifier.inputs.base import Asked
from gateflow.tasks.classifier.loading import input_of, load
from gateflow.tasks.classifier.prediction import predict
from gateflow.tasks.description import Given

NETWORK = {"hidden_size": 6, "read_out": "mean", "embedding_size": 100, "word_dropout": 0.1, "dropout": 0.0}
QUICK = {"epochs": 8, "batch_size": 4}


def hum(file, pitch, rate=8000, seconds=0.3, seed=0):
    """A tone with some noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(times))
    soundfile.write(file, 0.4 * np.sin(2 * np.pi * pitch * times) + noise, rate)
    return file


@pytest.fixture
def folder(tmp_path):
    for i in range(8):
        hum(tmp_path / "sounds" / "low" / f"{i}.wav", 300 + 10 * i, seconds=0.2 + 0.02 * i, seed=i)
        hum(tmp_path / "sounds" / "high" / f"{i}.flac", 1500 + 30 * i, seconds=0.3, seed=99 + i)
    return tmp_path / "sounds"


def test_folders_are_classes_and_other_rates_are_resampled(folder, tmp_path):
    run = train(tmp_path / "run", {"train": folder, "bands": 10}, NETWORK, QUICK)
    learnt, config = load(run), run.config()
    assert (config.data.input, config.sounds.rate, learnt.targets.names) == ("sound", 8000, ("high", "low"))
    files = [hum(tmp_path / "new" / "a.wav", 330, rate=16000), hum(tmp_path / "new" / "b.wav", 1600, rate=16000)]
    found = input_of(config).read(tmp_path / "new", config, Asked(labelled=False))
    assert [series.name for series in found] == list(map(str, files))
    assert [answers[0].labels for answers in predict(learnt, found)] == [("low",), ("high",)]
    joined = np.concatenate([each.values for each in own_examples(run, learnt.targets, "train")]).astype(np.float64)
    assert learnt.encoder.channels.means == pytest.approx(joined.mean(0).tolist(), rel=1e-5)
    assert learnt.encoder.channels.deviations == pytest.approx(joined.std(0).tolist(), rel=1e-5)
    given = {"predictions": None, "text": None, "label": None, "batch_size": 64}
    assert evaluate_run(Given(run), data=folder, **given).json["accuracy"] > 0.8
    with pytest.raises(ConfigError, match="--text names a column of texts"):
        evaluate_run(Given(run), data=folder, **{**given, "text": "a"})
    with pytest.raises(DataError, match="has no label. Put it into a folder of its class"):
        evaluate_run(Given(run), data=tmp_path / "new", **given)


def test_speakers_of_a_list_stay_in_one_part(folder, tmp_path):
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{file}\t{file.parent.name}\tp{int(file.stem) % 4}\n" for file in files]
    (tmp_path / "list.tsv").write_text("".join(lines))
    run = set_up(tmp_path / "run", config_of({"train": tmp_path / "list.tsv", "bands": 10}, NETWORK, QUICK))
    speakers = dict(line.split("\t")[::2] for line in "".join(lines).splitlines())
    train_, valid = (
        {speakers[each.name] for each in own_examples(run, load_labels(run), part)} for part in ("train", "valid")
    )
    assert train_
    assert valid
    assert not train_ & valid
    for option in ("label", "group"):
        with pytest.raises(ConfigError, match=f"--{option} names a column of a table"):
            set_up(tmp_path / "b", config_of({"train": tmp_path / "list.tsv", option: "x"}, NETWORK, QUICK))


def load_labels(run):
    from gateflow.tasks.classifier.loading import load_targets

    return load_targets(run)


def test_a_bad_file_is_named_and_left_out_only_if_that_is_asked_for(folder, tmp_path):
    (folder / "low" / "bad.wav").write_bytes(b"no sound")
    (folder / "low" / "empty.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"bad\.wav cannot be read as sound"):
        set_up(tmp_path / "run", config_of({"train": folder, "bands": 10}, NETWORK, QUICK))
    assert not (tmp_path / "run").exists()
    with pytest.warns(DataWarning, match="2 of 18 files cannot be read and are left out"):
        run = set_up(tmp_path / "run", config_of({"train": folder, "bands": 10, "skip_bad": True}, NETWORK, QUICK))
    assert sum(len(own_examples(run, load_labels(run), part)) for part in ("train", "valid")) == 16


def test_augmentation_is_of_training_alone(folder, tmp_path):
    run = train(tmp_path / "run", {"train": folder, "bands": 10, "deltas": True, "augment": True}, NETWORK, QUICK)
    learnt = load(run)
    rows = own_examples(run, learnt.targets, "valid")
    first, second = ([each[0].probabilities for each in predict(learnt, rows)] for _ in range(2))
    assert first == second
    assert learnt.encoder.channels.width == 30
