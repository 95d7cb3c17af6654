"""Recordings, samples and spectrograms, beside numbers computed otherwise."""

import cmath
import math

import numpy as np
import pytest
import soundfile

from gateflow.data.sounds.augmentation import SpecAugment
from gateflow.data.sounds.recordings import recordings
from gateflow.data.sounds.samples import read_samples
from gateflow.data.sounds.spectrogram import LogMel, deltas
from gateflow.errors import ConfigError, DataError

RATE = 8000


def tone(hertz=440.0, seconds=0.5, rate=RATE, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


class TestSamples:
    @pytest.mark.parametrize(
        ("name", "subtype", "within"),
        [
            ("a.wav", "PCM_16", 1e-4),
            ("a.wav", "PCM_U8", 1e-2),
            ("a.wav", "PCM_24", 1e-6),
            ("a.wav", "FLOAT", 0),
            ("a.wav", "DOUBLE", 1e-7),
            ("a.flac", "PCM_16", 1e-4),
        ],
    )
    def test_every_kind_of_number(self, tmp_path, name, subtype, within):
        soundfile.write(tmp_path / name, tone(), RATE, subtype=subtype)
        found = read_samples(tmp_path / name, RATE)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, tone(), atol=within)

    def test_channels_are_averaged(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone()], axis=1), RATE, subtype="FLOAT")
        np.testing.assert_allclose(read_samples(tmp_path / "a.wav", RATE), tone() / 2, atol=1e-7)

    @pytest.mark.parametrize("own", [16000, 44100, 6000])
    def test_another_rate_is_the_same_sound(self, tmp_path, own):
        soundfile.write(tmp_path / "a.wav", tone(rate=own), own, subtype="FLOAT")
        found = read_samples(tmp_path / "a.wav", RATE)
        assert abs(len(found) - RATE // 2) <= 1
        inside = slice(400, 3600)  # the filter rings at both ends
        np.testing.assert_allclose(found[inside], tone()[inside], atol=1e-3)

    @pytest.mark.parametrize(
        ("samples", "told"),
        [([], "holds no sound"), ([0.0, math.nan], "NaN or infinite"), ([0.0, math.inf], "NaN or infinite")],
    )
    def test_samples_that_are_none(self, tmp_path, samples, told):
        soundfile.write(tmp_path / "a.wav", np.array(samples, dtype=np.float32), RATE, subtype="FLOAT")
        with pytest.raises(DataError, match=told):
            read_samples(tmp_path / "a.wav", RATE)

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 9])
    def test_files_that_are_none(self, tmp_path, content):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.wav cannot be read as sound") as caught:
            read_samples(tmp_path / "a.wav", RATE)
        assert "\n" not in str(caught.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match="does not exist"):
            read_samples(tmp_path / "a.wav", RATE)

    def test_a_file_cut_short_is_refused_or_shorter_never_wrong(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
        (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:2000])
        found = read_samples(tmp_path / "b.wav", RATE)
        assert 0 < len(found) < 500
        np.testing.assert_array_equal(found, tone()[: len(found)])


class TestSpectrogram:
    def test_by_the_definition(self):
        """Each frequency summed one by one, with the formula of the docstring."""
        rate, samples = 1000, np.random.default_rng(0).uniform(-1, 1, 90).astype(np.float32)
        mel = LogMel(rate, bands=4, window=0.03, hop=0.02)
        length, hop, points = 30, 20, 32
        window = [0.5 - 0.5 * math.cos(2 * math.pi * n / length) for n in range(length)]
        scale = [2595 * math.log10(1 + f / 700) for f in (20, 500)]
        edges = [700 * (10 ** ((scale[0] + k * (scale[1] - scale[0]) / 5) / 2595) - 1) for k in range(6)]
        wanted = []
        for begin in range(0, 90 - length + 1, hop):
            energies = [0.0] * 4
            for f in range(points // 2 + 1):
                terms = (
                    window[n] * float(samples[begin + n]) * cmath.exp(-2j * math.pi * f * n / points)
                    for n in range(length)
                )
                power, hertz = abs(sum(terms)) ** 2 / sum(window) ** 2, f * rate / points
                for m in range(4):
                    low, middle, high = edges[m : m + 3]
                    energies[m] += power * max(0, min((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
            wanted.append([math.log(max(1e-10, e)) for e in energies])
        np.testing.assert_allclose(mel(samples), wanted, rtol=1e-5)

    def test_frames_and_what_is_shorter_than_one(self):
        mel = LogMel(RATE)
        assert mel(tone(seconds=1)).shape == (98, 40)
        assert mel(tone(seconds=0.001)).shape == (1, 40)
        assert LogMel(RATE, with_deltas=True)(tone()).shape == (48, 120)

    def test_long_sounds_are_cut_nowhere(self):
        mel, samples = LogMel(RATE), np.random.default_rng(0).normal(size=50 * RATE).astype(np.float32)
        np.testing.assert_allclose(mel(samples)[4200:4300], mel(samples[4200 * 80 :])[:100], rtol=1e-5)

    def test_silence_is_finite(self):
        np.testing.assert_allclose(LogMel(RATE)(np.zeros(RATE, dtype=np.float32)), math.log(1e-10), rtol=1e-6)

    @pytest.mark.parametrize(
        "options",
        [{"bands": 400}, {"high": 4001}, {"low": 4000}, {"hop": 0}, {"window": 0}, {"bands": 0}, {"low": -1}],
    )
    def test_what_is_no_spectrogram(self, options):
        with pytest.raises(ConfigError):
            LogMel(RATE, **options)

    def test_slopes_are_those_of_least_squares(self):
        values = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
        padded = np.concatenate([values[:1], values[:1], values, values[-1:], values[-1:]])
        wanted = [np.polyfit(range(5), padded[t : t + 5], 1)[0] for t in range(9)]
        np.testing.assert_allclose(deltas(values), wanted, atol=1e-5)


def test_masks_cover_stretches_and_leave_the_rest():
    values = np.ones((50, 12), dtype=np.float32)
    mask = SpecAugment(times=1, frequencies=1, longest=30, widest=2, bands=4)
    for seed in range(50):
        found = mask(values, np.random.default_rng(seed))
        blotted = found == 0
        times, bands = blotted.all(axis=1), blotted.all(axis=0).reshape(3, 4)
        assert times.sum() <= 10, "a fifth of the recording"
        assert bands.sum(axis=1).tolist() == [bands[0].sum()] * 3, "slopes are masked with their band"
        assert bands[0].sum() <= 2
        np.testing.assert_array_equal(blotted, times[:, None] | bands.reshape(-1))
    np.testing.assert_array_equal(values, 1)
    assert not np.array_equal(*(mask(values, np.random.default_rng(seed)) for seed in (1, 2)))


class TestRecordings:
    def test_a_folder_for_each_class(self, tmp_path):
        for name in ("two/b.wav", "one/deep/a.FLAC", "one/c.wav", "one/notes.txt", "stray.wav"):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).touch()
        found = [(r.path.name, r.label) for r in recordings(tmp_path)]
        assert found == [("c.wav", "one"), ("a.FLAC", "one"), ("b.wav", "two")]

    def test_a_list(self, tmp_path):
        (tmp_path / "list.tsv").write_text("path\tlabel\tspeaker\r\na.wav\tone\tanna\r\n\r\nb.wav\ttwo\n/c.wav\n")
        found = recordings(tmp_path / "list.tsv")
        assert [(r.label, r.group) for r in found] == [("one", "anna"), ("two", None), (None, None)]
        assert [r.path.as_posix() for r in found][1:] == [(tmp_path / "b.wav").as_posix(), "/c.wav"]

    def test_one_file(self, tmp_path):
        assert [r.path for r in recordings(tmp_path / "a.wav")] == [tmp_path / "a.wav"]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a.wav\tx\ty\tz\n", "line 1: a line is a path"),
            ("\tone\n", "line 1: a line is a path"),
            ("a.wav\tone\na.wav\ttwo\n", "line 2: a.wav stands in the list already"),
            ("path\tlabel\n", "names no recording"),
        ],
    )
    def test_lists_that_are_none(self, tmp_path, text, told):
        (tmp_path / "list.tsv").write_text(text)
        with pytest.raises(DataError, match=told):
            recordings(tmp_path / "list.tsv")

    def test_a_folder_without_sounds(self, tmp_path):
        with pytest.raises(DataError, match="holds no folder with sounds"):
            recordings(tmp_path)
