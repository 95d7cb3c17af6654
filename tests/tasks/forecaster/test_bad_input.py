"""What a forecaster cannot use is told in a line or two, and nothing is left behind."""

import shutil

import numpy as np
import pytest
from tests.tasks.forecaster.conftest import HORIZON, SEASON, rows, write

from gateflow import Forecaster
from gateflow.cli import main
from gateflow.errors import DataError
from gateflow.tasks.forecaster.config import ForecasterConfig

GOOD = "series,time,load,holiday\n" + "".join(f"a,{t},{t % 12},{t % 5 == 0:d}\n" for t in range(90))
FEW = ("--season", SEASON, "--horizon", HORIZON, "--epochs", 1)


@pytest.fixture
def gateflow(capsys):
    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return int(left.value.code or 0), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (lambda t: t.replace("a,7,7,0", "a,7,seven,0"), (), "'seven' is no number"),
        (lambda t: t.replace("a,7,7,0", "a,7,inf,0"), (), "is infinite"),
        (lambda t: t.replace("a,7,7,0", "a,7,1e300,0"), (), "more than float32 can hold"),
        (lambda t: t.replace("a,7,7,0", "a,6,7,0"), (), "at the same time"),
        (lambda t: t.replace("a,7,7,0", "a,6.3,7,0"), (), "Step 8, at 6.3, does not fall on the grid"),
        (lambda t: t.replace("a,7,7,0", "a,7,7"), (), "line 9: 3 cells"),
        (lambda t: "".join(t.splitlines(True)[:21]), (), "Give longer series, or a shorter --horizon"),
        (lambda t: t, ("--target", "wind"), "no column 'wind'"),
        (lambda t: t, ("--target", "load", "--past", "load"), "named twice"),
        (lambda t: t, ("--past", "load", "--future", "holiday"), "no channel left to forecast"),
        (lambda t: t, ("--quantiles", "0.9,0.5"), "quantiles rise"),
        (lambda t: t, ("--quantiles", "0.1,0.9"), "0.5 is one of them"),
        (lambda t: t, ("--horizon", 0), "--horizon"),
        (lambda t: t, ("--series", "town"), "no column 'town'"),
        (lambda t: "", (), "is empty"),
        (lambda t: "series,time,load\n", (), "no rows below"),
        (lambda t: "\0" + t, (), "not text"),
    ],
)
def test_a_training_that_cannot_be(gateflow, tmp_path, change, options, told):
    file = tmp_path / "table.csv"
    file.write_text(change(GOOD))
    code, _, err = gateflow("train", "forecaster", "--data", file, "--out", tmp_path / "run", *FEW, *options)
    assert code in (1, 2)
    assert told in " ".join(err.split())
    assert "Traceback" not in err
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.filterwarnings("default::gateflow.errors.DataWarning")
def test_the_whole_way_on_the_command_line(gateflow, tmp_path):
    file = tmp_path / "table.csv"
    file.write_text(GOOD)
    run = tmp_path / "run"
    code, out, err = gateflow("train", "forecaster", "--data", file, "--out", run, *FEW, "--future", "holiday")
    assert code == 0, err
    code, out, err = gateflow("evaluate", run)
    assert code == 0, err
    assert "seasonal naive" in out
    code, out, err = gateflow("forecast", run, "--data", file)
    assert code == 0, err
    assert out.splitlines()[1].startswith("a\t90\tload\t")
    assert "holiday is not known for 6 of the 6 steps ahead of series a; it is read as missing" in " ".join(err.split())
    code, out, err = gateflow("diagnose", run)
    assert code == 0, err
    assert "forecast-gradient" in out
    assert gateflow("resume", run)[0] == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("series,time,load\na,1,2\na,2,3\n", "no column 'holiday'"),
        ("series,time,load,holiday\na,1,2,x\n", "'x' is no number"),
    ],
)
def test_data_that_do_not_fit_the_run(gateflow, tmp_path, trained, text, told):
    file = tmp_path / "other.csv"
    file.write_text(text)
    code, out, err = gateflow("forecast", trained.path, "--data", file)
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())


def test_a_series_without_dates_for_a_forecaster_that_reads_them(gateflow, tmp_path, trained):
    file = tmp_path / "one.csv"
    file.write_text("series,load,holiday\na,1,0\na,2,1\n")
    code, _, err = gateflow("forecast", trained.path, "--data", file)
    assert code == 1
    assert "reads dates" in err


def test_predictions_never_replace_the_data(gateflow, tmp_path, trained):
    file = write(tmp_path / "a.csv", {"a": rows(0)})
    before = file.read_bytes()
    code, _, err = gateflow("evaluate", trained.path, "--data", file, "--predictions", file)
    assert code != 0
    assert "would replace it" in " ".join(err.split())
    assert file.read_bytes() == before


def test_predictions_never_replace_a_part_of_the_run_or_what_it_was_trained_on(gateflow, tmp_path):
    file = write(tmp_path / "a.csv", {"a": rows(0)})
    run = tmp_path / "run"
    assert gateflow("train", "forecaster", "--data", file, "--out", run, *FEW)[0] == 0
    for target in (file, run / "config.toml", run / "model.safetensors", run / "data" / "series.safetensors"):
        before = target.read_bytes()
        code, _, err = gateflow("evaluate", run, "--predictions", target)
        assert code != 0
        assert "choose another name" in " ".join(err.split())
        assert target.read_bytes() == before


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"a": [1.0] * 90, "a ": [2.0] * 90},
        {"": [1.0] * 90},
        {1: [1.0] * 90, "1": [2.0] * 90},
        {"a\nb": [1.0] * 90},
        np.array(["1", "x"]),
        np.array([1j] * 90),
        np.full(90, np.nan),
        np.arange(90.0) + 1e9,
    ],
)
def test_series_that_are_none(trained, given):
    with pytest.raises(DataError):
        Forecaster(horizon=3, season=1, epochs=1, hidden_size=4, window=20).fit(given)


def test_a_stream_refuses_what_float32_cannot_hold():
    stream = Forecaster(horizon=3, epochs=1, hidden_size=4, window=20).fit(np.arange(90.0)).stream(np.arange(90.0))
    for value in (np.inf, 1e39):
        with pytest.raises(DataError, match="infinite"):
            stream.update([value])
    assert np.isfinite(stream.update([np.nan])).all()


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("layout.json", '"load"', '"holiday"', "checksum"),
        ("config.toml", "season = 12", "season = 6", "has season = 6, and the network was made for 12"),
        ("config.toml", '"0.1,0.5,0.9"', '"0.2,0.5,0.8"', "has quantiles = "),
    ],
)
def test_a_run_whose_numbers_would_mean_something_else(gateflow, tmp_path, trained, file, old, new, told):
    run = shutil.copytree(trained.path, tmp_path / "run")
    text = (run / file).read_text()
    assert old in text
    (run / file).write_text(text.replace(old, new))
    for verb in ("forecast", "evaluate", "resume", "diagnose"):
        code, out, err = gateflow(verb, run)
        assert (code, out) == (1, ""), verb
        assert told in " ".join(err.split()), verb


def test_more_steps_than_there_are(gateflow, tmp_path, trained):
    file = write(tmp_path / "a.csv", {"a": rows(0)[:20]})
    code, _, err = gateflow("evaluate", trained.path, "--data", file, "--steps", 20)
    assert code == 1
    assert "smaller --steps" in " ".join(err.split())


@pytest.mark.parametrize(
    ("factor", "places", "value"),
    [(1e-30, 50, 1e30), (1e-30, 185, 1e30), (1e30, 50, 0), (1e30, 185, 1e34), (1e-40, 185, 1)],
)
def test_values_of_any_size_are_forecast_in_numbers(factor, places, value):
    """However far one lies from the others, in what is learnt from and in what is judged by; as covariate too."""
    y = (10 + np.sin(np.arange(200.0))) * factor
    y[places] = value
    for given, past in ((y, ""), (np.stack([np.arange(200.0), y], axis=1), "2")):
        forecaster = Forecaster(horizon=3, epochs=2, hidden_size=4, window=20, season=7, past=past).fit(given)
        assert np.isfinite(forecaster.predict_quantiles()).all()
        assert np.isfinite(list(forecaster.backtest().values())).all()
        assert np.isfinite(forecaster.predict_quantiles(given[: places + 1])).all()
    stream = Forecaster(horizon=3, epochs=2, hidden_size=4, window=20, season=7).fit(y).stream(y[:100] * 1e-3)
    assert np.isfinite(stream.update([value])).all()


def test_what_float32_cannot_forecast():
    forecaster = Forecaster(horizon=3, epochs=1, hidden_size=4, window=20)
    with pytest.raises(DataError, match=r"^y, its rows: the value 3e\+38 is beyond 1e\+35"):
        forecaster.fit(np.where(np.arange(200) % 2, 3e38, -3e38))
    with pytest.raises(DataError, match="beyond"):
        forecaster.fit(np.arange(90.0)).stream(np.arange(90.0)).update([1e37])


def test_all_values_in_the_part_to_validate_on():
    with pytest.raises(DataError, match="nothing is known of those to learn from"):
        Forecaster(horizon=3, epochs=1, hidden_size=4, window=20).fit(np.where(np.arange(200) < 170, np.nan, 1.0))


def test_channels_that_a_forecaster_was_not_trained_on():
    y = np.sin(np.arange(200.0))
    forecaster = Forecaster(horizon=3, epochs=1, hidden_size=4, window=20).fit(y)
    for given in (y[None], np.stack([y, y], axis=1)):
        with pytest.raises(DataError, match="the forecaster was trained on 1"):
            forecaster.predict(given)


def test_a_constant_series_is_forecast_as_it_is(tmp_path):
    found = Forecaster(horizon=3, epochs=1, hidden_size=4, window=20).fit(np.full(80, 7.0)).predict()
    np.testing.assert_allclose(found, 7, atol=0.2)


def test_a_series_of_nothing_but_missing_values(gateflow, tmp_path):
    file = write(tmp_path / "a.csv", {"a": np.full((90, 2), np.nan)})
    code, _, err = gateflow("train", "forecaster", "--data", file, "--out", tmp_path / "run", *FEW)
    assert code == 1
    assert "Give longer series" in " ".join(err.split())


def test_defaults_are_a_configuration():
    assert ForecasterConfig.build({"data": {"train": "x"}}).training.patience == 30
