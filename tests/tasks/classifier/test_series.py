"""Series of numbers are read as the training's were: their channels, scales, gaps and times; never guessed wrongly."""

import numpy as np
import pytest
from tests.tasks.classifier.conftest import config_of, go_on, train
from tests.tasks.classifier.numbers import reordered, series, table

from gateflow.data.series import Series
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.tasks.channels import Channels
from gateflow.tasks.classifier.data import own_examples, set_up
from gateflow.tasks.classifier.evaluation import evaluate_run
from gateflow.tasks.classifier.inputs.base import Asked
from gateflow.tasks.classifier.inputs.look import kind_of
from gateflow.tasks.classifier.loading import input_of, load, load_encoder, load_targets
from gateflow.tasks.classifier.prediction import predict
from gateflow.tasks.description import Given

QUICK = {"epochs": 1}
NETWORK = {"hidden_size": 6, "read_out": "max", "embedding_size": 100, "word_dropout": 0.1, "dropout": 0.0}


def started(tmp_path, data, network=None, training=None):
    return set_up(tmp_path / "run", config_of(data, NETWORK | (network or {}), training or QUICK))


@pytest.fixture(scope="module")
def trained_on_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    return train(folder / "run", {"train": table(folder / "a.csv", series(40))}, NETWORK, {"epochs": 10}), folder


def evaluated(run, file, **options):
    given = {"predictions": None, "text": None, "label": None, "batch_size": 64} | options
    return evaluate_run(Given(run), data=file, **given).json


def test_it_learns_and_any_order_of_columns_gives_the_same_figures(trained_on_series, tmp_path):
    run, _ = trained_on_series
    file = table(tmp_path / "test.csv", series(30, seed=1))
    found = evaluated(run, file)
    assert found["accuracy"] > 0.8
    for columns in ("label,y,series,x", "z,series,y,speaker,x,label"):
        other = evaluated(run, reordered(tmp_path / "other.csv", file, columns))
        assert {**other, "seconds": 0} == {**found, "seconds": 0}
    with pytest.raises(DataError, match="has no column 'y'"):
        evaluated(run, reordered(tmp_path / "fewer.csv", file, "series,x,label"))


def test_a_validation_file_is_read_by_the_columns_of_the_training(tmp_path):
    file = table(tmp_path / "a.csv", series(20))
    valid = reordered(tmp_path / "b.csv", table(tmp_path / "c.csv", series(6, seed=3)), "z,y,label,x,series")
    run = started(tmp_path, {"train": file, "valid": valid})
    found = own_examples(run, load_targets(run), "valid")
    for ours, (values, label) in zip(found, series(6, seed=3), strict=True):
        assert ours.values == pytest.approx(values, rel=1e-6)
        assert ours.label == label
    same = reordered(tmp_path / "d.csv", file, "y,label,x,series")
    with pytest.warns(DataWarning, match="20 of the 20 series to validate on are in the training part too"):
        set_up(tmp_path / "other", config_of({"train": file, "valid": same}, NETWORK, QUICK))


def test_columns_of_the_training_need_not_be_there_later(tmp_path):
    source = table(tmp_path / "a.csv", series(20))
    rows = source.read_text().replace("label", "kind").splitlines()
    lines = [rows[0] + ",who", *(f"{row},p{i % 5}" for i, row in enumerate(rows[1:]))]
    by_series = {row.split(",")[0]: row.rpartition(",")[2] for row in lines[1:]}
    file = tmp_path / "b.csv"
    file.write_text(
        "\n".join([lines[0], *(f"{row.rpartition(',')[0]},{by_series[row.split(',')[0]]}" for row in lines[1:])])
    )
    run = train(tmp_path / "run", {"train": file, "label": "kind", "group": "who"}, NETWORK, QUICK)
    learnt, kind, config = load(run), input_of(run.config()), run.config()
    assert learnt.encoder.channel_names == ("x", "y")
    new = reordered(tmp_path / "new.csv", source, "series,x,y")
    asked = Asked(labelled=False, channels=learnt.encoder.channel_names)
    found = [list(kind.read(each, config, asked)) for each in (new, source, file)]
    answers = [[each[0].probabilities for each in predict(learnt, examples)] for examples in found]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("scale", ["channel", "all", "series", "none"])
def test_scales_are_those_of_the_training_alone(tmp_path, scale):
    random = np.random.default_rng(0)
    found = [(values * [3, 50] + [7, -200], label) for values, label in series(20)]
    file, valid = table(tmp_path / "a.csv", found), table(tmp_path / "b.csv", [(v + 1e6, k) for v, k in found[:4]])
    run = started(tmp_path, {"train": file, "valid": valid, "scale": scale})
    joined = np.concatenate([values for values, _ in found]).astype(np.float32).astype(np.float64)
    new = random.normal(size=(5, 2)).astype(np.float32)
    mean, deviation = {
        "channel": (joined.mean(0), joined.std(0)),
        "all": (joined.mean(), joined.std()),
        "series": (new.mean(0), new.std(0)),
        "none": (0, 1),
    }[scale]
    steps = load_encoder(run).steps(Series(new, "new"))
    assert steps.numpy() == pytest.approx((new - mean) / deviation, rel=1e-4, abs=1e-6)


def test_missing_values_are_the_mean_and_seen_by_a_mask():
    values = np.array([[1, np.nan], [3, 10], [np.nan, 30]], np.float32)
    channels = Channels.of([Series(values, "a")], "channel")
    assert channels.width == 4
    assert channels.read(Series(values, "a")).tolist() == [[-1, 0, 1, 0], [1, -1, 1, 1], [0, 1, 0, 1]]
    kept = Channels.of([Series(values, "a")], "channel", leaves_missing=True)
    assert np.array_equal(kept.read(Series(values, "a"))[:, 0], np.array([-1, 1, np.nan], np.float32), equal_nan=True)
    assert kept.width == 2


def test_a_channel_without_a_value_in_training_is_missing_later_too(tmp_path):
    file = table(tmp_path / "a.csv", series(20), missing=1.0)
    with pytest.warns(DataWarning, match="no series to learn from has a value in channel x"):
        run = started(tmp_path, {"train": file})
    steps = load_encoder(run).steps(Series(np.array([[1e5, 1.0]], np.float32), "new", channel_names=("x", "y")))
    assert steps[:, 0].tolist() == steps[:, 2].tolist() == [0.0]


def test_a_constant_channel_is_divided_by_no_zero():
    found = [Series(np.array([[0.1, k], [0.1, -k]], np.float32), "a") for k in range(3)]
    assert Channels.of(found, "channel").read(found[1])[:, 0] == pytest.approx([0, 0], abs=1e-6)


def test_what_is_not_seen_is_told(trained_on_series):
    run, _ = trained_on_series
    encoder = load_encoder(run)
    gap = np.zeros((3, 2), np.float32)
    gap[1, 0] = np.nan
    with pytest.warns(DataWarning, match="missing values, and none of the training had"):
        encoder.fitting(Series(gap, "a"))
    with pytest.warns(DataWarning, match="more than 1,000 steps"):
        encoder.fitting(Series(np.zeros((1001, 2), np.float32), "a"))


def test_a_value_beyond_all_scales_is_refused():
    channels = Channels.of([Series(np.array([[0.0], [1e-8]], np.float32), "a")], "channel")
    with pytest.raises(DataError, match=r"the value 1e\+38 of step 1, channel 1 is too far"):
        channels.read(Series(np.array([[1e38]], np.float32), "b"))
    assert np.isfinite(channels.read(Series(np.array([[1e30]], np.float32), "b"))).all()


def test_times_are_told_in_units_of_the_median_and_dates_in_seconds():
    hours = np.array(["2026-01-01T00", "2026-01-01T02", "2026-01-01T02", "2026-01-03T02"], "datetime64[us]")
    dated = Series(np.zeros((4, 1), np.float32), "a", times=hours)
    channels = Channels.of([dated], "none", times=True)
    assert channels.unit == (2 + 48) / 2 * 3600
    assert channels.elapsed(dated).tolist() == pytest.approx([1, 2 / 25, 0, 48 / 25])
    counted = Series(np.zeros((2, 1), np.float32), "b", times=np.array([0.0, 5.0]))
    with pytest.raises(DataError, match="its times are not dates"):
        channels.fitting(counted, "b")
    with pytest.raises(DataError, match="has no times"):
        channels.fitting(Series(np.zeros((2, 1), np.float32), "c"), "c")
    without = Channels.of([Series(np.zeros((2, 1), np.float32), "c")], "none", times=True)
    assert without.elapsed(counted) is None


@pytest.mark.parametrize("cell", ["cfc", "gru_d"])
def test_cells_that_are_told_times_read_them(tmp_path, cell):
    lines = ["series,time,x,label"]
    for i in range(24):
        lines += [f"s{i},{(k * k) if i % 2 else k},{np.sin(i + k):.4f},{'up' if i % 2 else 'down'}" for k in range(6)]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(lines) + "\n")
    run = train(tmp_path / "run", {"train": file}, {**NETWORK, "cell": cell}, QUICK)
    learnt = load(run)
    one = own_examples(run, learnt.targets, "valid")[0]
    slower = Series(one.values, "b", times=one.times * 3, channel_names=one.channel_names)
    first, second = (next(predict(learnt, [each]))[0].probabilities for each in (one, slower))
    assert first != second
    with pytest.raises(DataError, match="has no times"):
        learnt.encoder.fitting(Series(one.values, "c", channel_names=one.channel_names))


@pytest.mark.parametrize("read_out", ["last", "mean", "max", "attention"])
def test_an_answer_does_not_hang_on_its_batch(tmp_path, read_out):
    run = train(tmp_path / "run", {"train": table(tmp_path / "a.csv", series(20))}, {"read_out": read_out}, QUICK)
    learnt = load(run)
    lone = [Series(values.astype(np.float32), "a") for values, _ in series(9, seed=4)]
    together = [each[0].probabilities for each in predict(learnt, lone)]
    alone = [next(predict(learnt, [each]))[0].probabilities for each in lone]
    assert np.array(together) == pytest.approx(np.array(alone), abs=1e-5)


def test_only_the_beginning_is_read_and_what_follows_changes_nothing(tmp_path):
    with pytest.warns(DataWarning, match="have more than 3 steps"):
        run = train(tmp_path / "run", {"train": table(tmp_path / "a.csv", series(20)), "longest": 3}, NETWORK, QUICK)
    learnt = load(run)
    long = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    other = long.copy()
    other[3:] = 99
    answers = [next(predict(learnt, [Series(each, "a")]))[0].probabilities for each in (long, other, long[:3])]
    assert answers[0] == answers[1] == answers[2]


LOOKS = {
    "a.csv": (b"series,x,label\na,1,up\n", "series"),
    "b.csv": (b"\xef\xbb\xbfid;time;x\na;1;\n", "series"),
    "c.csv": (b"id,review,label\n1,a good film,pos\n", "text"),
    "d.csv": (b"time,text,label\n1,2,pos\n", "text"),
    "e.ts": (b"# of weather\n@problemName a\n@data\n", "series"),
    "f.tsv": (b"@anna well said\tpos\n", "text"),
    "g.npz": (b"PK\x03\x04", "series"),
    "h.npy": (b"\x93NUMPY", "series"),
    "i": (b"\x00\x00\x08\x03\x00", "series"),
    "j.tsv": (b"path\tlabel\na.wav\tone\n", "sound"),
    "k.csv": (b"word," * 50_000 + b"\n", "text"),
    "l.csv": (b"x" * 200_000 + b",b\n1,2\n", "text"),
    "m.csv": (b"series,x,who,kind\na,1,anna,up\n", "text"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_files_are_known_by_their_looks(tmp_path, name):
    content, kind = LOOKS[name]
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) == kind
    if name == "m.csv":
        assert kind_of(tmp_path / name, columns=["who", "kind"]) == "series"


def test_numbers_that_are_read_as_texts_are_told(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("x,label\n" + "".join(f"0.{i},{'up' if i % 2 else 'down'}\n" for i in range(10, 40)))
    with pytest.warns(DataWarning, match="all texts to learn from are numbers, such as '0"):
        set_up(tmp_path / "run", config_of({"train": file}))


BAD = {
    "empty label": ("series,x,label\na,1,up\nb,1,\nc,1,down\n", {}, "series 'b' has no label"),
    "two labels": ("series,x,label\na,1,up\na,1,down\n", {}, "two labels"),
    "two columns of labels": ("series,x,label,target\na,1,up,1\nb,1,down,2\n", {}, "label and target may both be"),
    "another beside": ("series,x,label,kind\na,1,up,1\nb,1,down,2\n", {"label": "kind"}, "kind and label may both be"),
    "two columns of series": ("series,id,x,label\na,1,1,up\n", {}, "series and id may both be"),
    "kinds of times": ("series,time,x,label\na,1,1,up\nb,2026-01-01,1,down\n", {}, "its times are dates, and numbers"),
    "words": ("series,x,kind\na,1,up\nb,1,down\n", {}, "If the column 'kind' holds none, name it with --label"),
    "a word": ("series,x,label\na,1,up\na,one,up\n", {}, "no number. Write . or NaN where a value is missing.$"),
    "infinite": ("series,x,label\na,inf,up\n", {}, "is infinite"),
    "one class": ("series,x,label\na,1,up\nb,1,up\nc,1,up\n", {}, "every series to learn from has the label up"),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_cannot_be_learnt_from(tmp_path, name):
    content, options, message = BAD[name]
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        started(tmp_path, {"train": tmp_path / "a.csv", "input": "series", **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "option", [{"label": "a"}, {"group": "a"}, {"time": "a"}, {"channels": "a"}, {"order": "pixels"}]
)
def test_options_that_a_file_has_nothing_for_are_refused(tmp_path, option):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3, 2)), y=[0, 1, 0, 1])
    with pytest.raises(ConfigError, match=f"--{next(iter(option))}"):
        started(tmp_path, {"train": tmp_path / "a.npz", **option})


def images(folder, name, count, size, labels=True):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8)
    head = b"".join(n.to_bytes(4, "big") for n in (0x803, count, *size))
    (folder / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    if labels:
        classes = (np.arange(count) % 2).astype(np.uint8)
        head = b"".join(n.to_bytes(4, "big") for n in (0x801, count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + classes.tobytes())
    return folder / f"{name}-images-idx3-ubyte", pixels


def test_permuted_pixels_have_one_order_in_all_files(tmp_path):
    file, pixels = images(tmp_path, "train", 20, (4, 3))
    run = started(tmp_path, {"train": file, "order": "permuted", "scale": "none"})
    encoder, kind, config = load_encoder(run), input_of(run.config()), run.config()
    other, others = images(tmp_path, "test", 5, (4, 3), labels=False)
    read = [
        np.stack([encoder.steps(each) for each in kind.read(x, config, Asked(labelled=False))]) for x in (file, other)
    ]
    order = [
        int(np.flatnonzero((pixels.reshape(20, 12) / np.float32(255) == read[0][:, [k], 0]).all(0))[0])
        for k in range(12)
    ]
    assert sorted(order) == list(range(12)) != order
    assert read[1][:, :, 0] == pytest.approx(others.reshape(5, 12)[:, order] / 255, rel=1e-6)
    larger, _ = images(tmp_path, "larger", 2, (3, 5), labels=False)
    with pytest.raises(DataError, match="15 pixels, and those of the training were 12"):
        encoder.fitting(kind.read(larger, config, Asked(labelled=False))[0])
    with pytest.raises(DataError, match="The file of the labels lies beside"):
        kind.read(other, config)


def test_a_group_is_in_one_part_and_folds_have_each_series_once(tmp_path):
    found, lines = series(30), ["series,x,y,label,who"]
    for i, (values, label) in enumerate(found):
        lines += [f"s{i},{a!r},{b!r},{label},p{i % 7}" for a, b in values.tolist()]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(lines) + "\n")
    tested = []
    for fold in (1, 2, 3):
        data = {"train": file, "group": "who", "folds": 3, "fold": fold}
        run = set_up(tmp_path / f"run{fold}", config_of(data, NETWORK, QUICK))
        parts = {part: own_examples(run, load_targets(run), part) for part in ("train", "valid", "test")}
        names = {part: {int(each.name[1:]) % 7 for each in examples} for part, examples in parts.items()}
        assert not names["train"] & names["valid"] | names["train"] & names["test"] | names["valid"] & names["test"]
        assert sum(map(len, parts.values())) == 30
        tested += [each.name for each in parts["test"]]
    assert sorted(tested) == sorted(f"s{i}" for i in range(30))


def test_what_a_run_keeps_is_what_was_read(tmp_path):
    run = started(tmp_path, {"train": table(tmp_path / "a.csv", series(20), missing=0.2)})
    kept = {each.name: each for part in ("train", "valid") for each in own_examples(run, load_targets(run), part)}
    read = input_of(run.config()).read(tmp_path / "a.csv", run.config())
    assert len(kept) == len(read) == 20
    for each in read:
        ours = kept[each.name]
        assert np.array_equal(ours.values, each.values, equal_nan=True)
        assert (ours.label, ours.channel_names) == (each.label, each.channel_names)


def test_several_labels_of_series_may_be_none(tmp_path):
    lines = ["series,x,label"]
    for i in range(24):
        lines += [f"s{i},{i % 3 + k / 10 + i / 1000},{['', 'low', 'low;high'][i % 3]}" for k in range(3)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    data = {"train": tmp_path / "a.csv", "multi_label": True, "separator": ";"}
    run = train(tmp_path / "run", data, NETWORK, {"epochs": 30})
    learnt = load(run)
    assert learnt.targets.names == ("high", "low")
    rows = own_examples(run, learnt.targets, "train")
    right = [set(found[0].labels) == set(row.labels) for found, row in zip(predict(learnt, rows), rows, strict=True)]
    assert np.mean(right) > 0.9


def test_it_goes_on_to_the_same_weights_after_a_stop(tmp_path):
    from tests.training.test_loop import StopAfter

    file = table(tmp_path / "a.csv", series(30), missing=0.1)
    options = {"epochs": 3, "checkpoint_every": 3, "class_weights": "balanced"}
    config = config_of({"train": file}, {**NETWORK, "dropout": 0.3}, options)
    whole, stopped = (set_up(tmp_path / name, config) for name in ("whole", "stopped"))
    go_on(whole)
    for stop in (2, None):
        go_on(stopped, () if stop is None else (StopAfter(stop),))
    assert whole.model_file.read_bytes() == stopped.model_file.read_bytes()
