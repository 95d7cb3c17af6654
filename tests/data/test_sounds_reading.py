"""From a folder or a list to series: every file is right, or an error or a warning that names it."""

import os
import warnings

import numpy as np
import pytest
import soundfile

from gateflow.data.sounds.reading import commonest_rate, read_sounds
from gateflow.data.sounds.samples import rate_of
from gateflow.data.sounds.spectrogram import LogMel
from gateflow.errors import ConfigError, DataError, DataWarning

RATE = 8000
MEL = LogMel(RATE, bands=20)


def hum(seconds=0.5, rate=RATE, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def digits(tmp_path):
    """Two good files of two speakers, and a list of them."""
    soundfile.write(tmp_path / "a.wav", hum(), RATE)
    soundfile.write(tmp_path / "b.flac", hum(0.3, hertz=880), RATE)
    (tmp_path / "list.tsv").write_text("a.wav\tone\tanna\nb.flac\ttwo\tben\n")
    return tmp_path / "list.tsv"


def listed(path, *lines):
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))
    return path


def test_a_list_becomes_series(digits):
    found = list(read_sounds(digits, MEL))
    assert [(s.name, s.label, s.group, s.place) for s in found] == [
        ("a.wav", "one", "anna", "recording 'a.wav'"),
        ("b.flac", "two", "ben", "recording 'b.flac'"),
    ]
    assert [s.values.shape for s in found] == [(48, 20), (28, 20)]
    samples = soundfile.read(digits.parent / "a.wav", dtype="float32")[0]
    np.testing.assert_array_equal(found[0].values, MEL(samples))
    assert found[0].values.dtype == np.float32


def test_one_at_a_time(digits):
    reading = read_sounds(listed(digits, "missing.wav\tone"), MEL)
    assert next(reading).label == "one"
    assert next(reading).label == "two"
    with pytest.raises(DataError, match=r"missing\.wav does not exist"):
        next(reading)


def test_progress_is_shown(digits):
    seen = []

    def track(items, doing, total):
        seen.append((doing, total))
        return items

    list(read_sounds(digits, MEL, track=track))
    assert seen == [("reading sounds", 2)]


@pytest.mark.parametrize("own", [6000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.filterwarnings("ignore:.*fewer than 8,000 samples")
def test_the_same_sound_however_it_is_kept(tmp_path, own, channels, subtype):
    """The loud bands agree; the quiet ones hold what eight bits and the filter's ends add."""
    wanted = MEL(hum(1).astype(np.float32))
    soundfile.write(tmp_path / "a.wav", np.repeat(hum(1, own)[:, None], channels, axis=1), own, subtype=subtype)
    (found,) = read_sounds(tmp_path / "a.wav", MEL)
    assert found.label is None
    assert found.values.shape == wanted.shape
    loud = wanted[20:80] > wanted.max() - 5
    np.testing.assert_allclose(found.values[20:80][loud], wanted[20:80][loud], atol=0.05)
    assert (found.values[20:80].argmax(axis=1) == wanted[20:80].argmax(axis=1)).all()


@pytest.mark.parametrize("length", [1, 3, 199, 200, 201, 280])
@pytest.mark.parametrize("own", [8000, 48000])
def test_sounds_as_short_as_can_be(tmp_path, length, own):
    soundfile.write(tmp_path / "a.wav", np.full(length, 0.5), own, subtype="FLOAT")
    (found,) = read_sounds(tmp_path / "a.wav", MEL)
    assert len(found) == (2 if length == 280 and own == RATE else 1)
    assert np.isfinite(found.values).all()


def test_silence_is_a_sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    (found,) = read_sounds(tmp_path / "a.wav", LogMel(RATE, with_deltas=True))
    np.testing.assert_allclose(found.values[:, :40], np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(found.values[:, 40:], 0, atol=1e-5)


def make_bad(folder):
    """Files that are none, one a kind, and what is said of each."""
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    soundfile.write(folder / "nan.wav", [0, np.nan], RATE, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", np.array([[np.inf, -np.inf]]), RATE, subtype="FLOAT")
    soundfile.write(folder / "whole.wav", hum(), RATE)
    (folder / "cut.wav").write_bytes((folder / "whole.wav").read_bytes()[:999])
    (folder / "text.wav").write_text("no sound at all")
    (folder / "nothing.wav").touch()
    (folder / "folder.wav").mkdir()
    (folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(folder / "pipe.wav")
    return {
        "empty.wav": "holds no sound",
        "nan.wav": "NaN or infinite",
        "inf.wav": "NaN or infinite",
        "cut.wav": "cut short",
        "text.wav": "cannot be read as sound",
        "nothing.wav": "cannot be read as sound",
        "folder.wav": "is no file",
        "loop.wav": "loop.wav",
        "pipe.wav": "is no file",
        "missing.wav": "does not exist",
        f"{'long' * 99}.wav": "long",
    }


def test_bad_files_are_named(digits):
    good = digits.read_text()
    for name, told in make_bad(digits.parent).items():
        digits.write_text(f"{good}{name}\tone\n")
        with pytest.raises(DataError, match=f"({told}).*--skip-bad") as caught:
            list(read_sounds(digits, MEL))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bad_files_are_left_out_and_counted(digits):
    wanted = list(read_sounds(digits, MEL))
    bad = make_bad(digits.parent)
    listed(digits, *(f"{name}\tone" for name in bad))
    with pytest.warns(DataWarning) as caught:
        found = list(read_sounds(digits, MEL, skip_bad=True))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert f"{len(bad)} of {len(bad) + 2} files cannot be read and are left out" in text
    assert all(name in text for name in list(bad)[:3])
    assert f"And {len(bad) - 3} more." in text
    assert [s.name for s in found] == ["a.wav", "b.flac"]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_not_one_good_file(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    for skip_bad in (True, False):
        with pytest.raises(DataError, match=r"a\.wav"):
            list(read_sounds(tmp_path, MEL, skip_bad=skip_bad))
    with pytest.raises(DataError, match="not one of 1 files"):
        list(read_sounds(tmp_path, MEL, skip_bad=True))


def test_a_lower_rate_is_told(digits):
    soundfile.write(digits.parent / "c.wav", hum(rate=6000), 6000)
    soundfile.write(digits.parent / "d.wav", hum(rate=16000), 16000)
    with pytest.warns(DataWarning, match=r"1 of 4 recordings have fewer than 8,000 samples a second \(6,000\)"):
        list(read_sounds(listed(digits, "c.wav\tone", "d.wav\tone"), MEL))


class TestCommonestRate:
    def test_of_a_list(self, digits):
        soundfile.write(digits.parent / "c.wav", hum(rate=16000), 16000)
        (digits.parent / "d.wav").write_text("no sound")
        assert commonest_rate(listed(digits, "c.wav", "d.wav", "missing.wav")) == RATE
        assert rate_of(digits.parent / "c.wav") == 16000

    def test_of_two_equally_common_ones_the_higher(self, tmp_path):
        for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
            soundfile.write(tmp_path / name, hum(rate=rate), rate)
        assert commonest_rate(tmp_path) == 16000

    def test_of_files_that_are_none(self, tmp_path):
        (tmp_path / "a.wav").write_text("no sound")
        with pytest.raises(DataError, match=r"a\.wav cannot be read as sound"):
            commonest_rate(tmp_path)


@pytest.mark.parametrize("missing", ["soundfile", "soxr"])
def test_without_the_libraries(digits, monkeypatch, missing):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\[audio\]'"):
        list(read_sounds(digits, MEL, skip_bad=True))
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\[audio\]'"):
        commonest_rate(digits)


def test_nothing_is_said_where_nothing_is_amiss(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read_sounds(digits, MEL, skip_bad=True))) == 2
