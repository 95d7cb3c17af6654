"""Recordings, samples and spectrograms, beside numbers computed otherwise."""

import cmath
import math

import numpy as np
import pytest
import soundfile
import torch
from pydantic import TypeAdapter, ValidationError

from gateflow.data.sounds import augmentation
from gateflow.data.sounds.augmentation import SoundAugment, SpecAugment, VoiceAugment
from gateflow.data.sounds.recordings import are_sounds, recordings
from gateflow.data.sounds.samples import Samples, read_samples, scaled
from gateflow.data.sounds.spectrogram import LogMel, deltas
from gateflow.errors import ConfigError, DataError, ShapeError

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
        found = read_samples(tmp_path / name).at(RATE)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, tone(), atol=within)

    def test_channels_are_averaged(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone()], axis=1), RATE, subtype="FLOAT")
        np.testing.assert_allclose(read_samples(tmp_path / "a.wav").at(RATE), tone() / 2, atol=1e-7)

    @pytest.mark.parametrize("own", [16000, 44100, 6000])
    def test_another_rate_is_the_same_sound(self, tmp_path, own):
        soundfile.write(tmp_path / "a.wav", tone(rate=own), own, subtype="FLOAT")
        found = read_samples(tmp_path / "a.wav").at(RATE)
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
            read_samples(tmp_path / "a.wav").at(RATE)

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 9])
    def test_files_that_are_none(self, tmp_path, content):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.wav cannot be read as sound") as caught:
            read_samples(tmp_path / "a.wav").at(RATE)
        assert "\n" not in str(caught.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match="does not exist"):
            read_samples(tmp_path / "a.wav").at(RATE)

    @pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au"])
    def test_a_file_cut_short(self, tmp_path, name):
        soundfile.write(tmp_path / name, tone(), RATE)
        content = (tmp_path / name).read_bytes()
        for length in (len(content) - 600, len(content) // 3, 60):
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(DataError, match=rf"{name} .*(cut short|cannot be read)"):
                read_samples(tmp_path / name)

    def test_a_flac_that_is_hurt_in_the_middle(self, tmp_path):
        soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, 20000), RATE)
        content = bytearray((tmp_path / "a.flac").read_bytes())
        content[20000:20008] = b"12345678"
        (tmp_path / "a.flac").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.flac"):
            read_samples(tmp_path / "a.flac")

    @pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000], ids=["ffmpeg", "sox"])
    def test_what_was_written_into_a_pipe_has_no_size(self, tmp_path, size):
        soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="PCM_16")
        content = bytearray((tmp_path / "a.wav").read_bytes())
        at = content.index(b"data") + 4
        content[at : at + 4] = size.to_bytes(4, "little")
        (tmp_path / "a.wav").write_bytes(content)
        np.testing.assert_allclose(read_samples(tmp_path / "a.wav").values, tone(), atol=1e-4)

    def test_a_sound_of_many_blocks_and_channels(self, tmp_path):
        samples = np.random.default_rng(0).uniform(-1, 1, (150_000, 3)).astype(np.float32)
        soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
        np.testing.assert_allclose(read_samples(tmp_path / "a.wav").values, samples.mean(axis=1), atol=1e-7)

    @pytest.mark.parametrize("factor", [32768, 3e38])
    def test_integers_that_nobody_divided(self, tmp_path, factor):
        both = np.stack([tone(), tone()], axis=1).astype(np.float64) * (factor / 0.5)
        soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
        with pytest.raises(DataError, match="lies between -1 and 1"):
            read_samples(tmp_path / "a.wav")

    @pytest.mark.parametrize(("subtype", "kind"), [("PCM_U8", "uint8"), ("PCM_16", "int16"), ("PCM_32", "int32")])
    def test_integers_in_python_are_those_of_a_file(self, tmp_path, subtype, kind):
        soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
        wanted = read_samples(tmp_path / "a.wav").values
        zero, full = {"uint8": (128, 128), "int16": (0, 1 << 15), "int32": (0, 1 << 31)}[kind]
        given = np.round(wanted.astype(np.float64) * full + zero).astype(kind)
        np.testing.assert_allclose(scaled(given), wanted, atol=1e-7)
        mel = LogMel(rate=RATE)
        np.testing.assert_allclose(mel(given), mel(wanted), atol=1e-4)

    @pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint16"])
    def test_in_python_too_nobody_guesses_a_scale(self, kind):
        given = np.abs(tone() * 30000).astype(kind)
        with pytest.raises(DataError, match="lies between -1 and 1"):
            LogMel(rate=RATE)(given)
        assert scaled(np.zeros(9, dtype=kind)).max() == 0

    def test_clipped_and_a_little_louder_than_one(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", 3 * tone(), RATE, subtype="FLOAT")
        np.testing.assert_array_equal(read_samples(tmp_path / "a.wav").values, 3 * tone())
        soundfile.write(tmp_path / "b.wav", 3 * tone(), RATE, subtype="PCM_16")
        np.testing.assert_allclose(read_samples(tmp_path / "b.wav").values, np.clip(3 * tone(), -1, 1), atol=1e-4)

    @pytest.mark.parametrize(("own", "rate"), [(16000, 8000), (8000, 16000), (44100, 8000)])
    def test_resampled_as_scipy_does(self, own, rate):
        """White noise below both limits, by two filters of different make."""
        signal = pytest.importorskip("scipy.signal")
        noise = np.random.default_rng(0).normal(size=own)
        below = signal.sosfiltfilt(signal.butter(8, 2500, fs=own, output="sos"), noise).astype(np.float32)
        wanted = signal.resample_poly(below.astype(np.float64), rate, own)
        found = Samples(below, own).at(rate)
        assert len(found) == len(wanted) == rate
        inside = slice(rate // 10, -rate // 10)
        np.testing.assert_allclose(found[inside], wanted[inside], atol=4e-3 * np.abs(wanted).max())


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
        [
            {"rate": 10},
            {"hop": math.nan},
            {"window": 1e9},
            {"bands": 10**9},
            {"top_db": 0},
            {"top_db": math.nan},
            {"bands": 400},
            {"high": 4001},
            {"low": 4000},
            {"hop": 0},
            {"window": 0},
            {"bands": 0},
            {"low": -1},
        ],
    )
    def test_what_is_no_spectrogram(self, options):
        with pytest.raises(ConfigError):
            LogMel(**{"rate": RATE, **options})

    def test_centred_it_does_not_depend_on_how_loud_a_recording_is(self):
        noise = np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32)
        plain, mel = LogMel(RATE, with_deltas=True)(noise), LogMel(RATE, centred=True, with_deltas=True)
        np.testing.assert_allclose(mel(noise)[:, :40], plain[:, :40] - plain[:, :40].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(mel(noise)[:, 40:], plain[:, 40:], atol=1e-5)
        np.testing.assert_allclose(mel(noise / 8), mel(noise), atol=1e-4)
        np.testing.assert_array_equal(mel(noise[:20]), 0)

    @pytest.mark.parametrize("decibels", [5, 50])
    def test_what_is_far_below_the_loudest_is_raised(self, decibels):
        """An amplitude of a tenth is 20 decibels."""
        loud, quiet = tone(hertz=500), 10 ** (-decibels / 20) * tone(hertz=500)
        silence = np.zeros(RATE, dtype=np.float32)
        plain, mel = LogMel(RATE), LogMel(RATE, top_db=decibels)
        found = mel(np.concatenate([loud, silence]))
        np.testing.assert_allclose(found.min(), plain(quiet).max(), atol=1e-3)
        np.testing.assert_array_equal(found[:40].max(), plain(loud)[:40].max())
        np.testing.assert_allclose(mel(silence), math.log(1e-10), rtol=1e-6)

    def test_kept_as_json_it_is_the_same(self):
        mel = LogMel(
            16000, bands=13, window=0.02, hop=0.005, low=50, high=7000, top_db=60, centred=True, with_deltas=True
        )
        kept = TypeAdapter(LogMel).dump_json(mel)
        again = TypeAdapter(LogMel).validate_json(kept)
        assert again == mel
        samples = tone(rate=16000)
        np.testing.assert_array_equal(again(samples), mel(samples))
        with pytest.raises(ValidationError):
            TypeAdapter(LogMel).validate_json(kept.replace(b"13", b"0"))

    def test_slopes_are_those_of_least_squares(self):
        values = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
        padded = np.concatenate([values[:1], values[:1], values, values[-1:], values[-1:]])
        wanted = [np.polyfit(range(5), padded[t : t + 5], 1)[0] for t in range(9)]
        np.testing.assert_allclose(deltas(values), wanted, atol=1e-5)


def test_masks_cover_stretches_and_leave_the_rest():
    values, lengths = torch.ones(50, 2, 12), torch.tensor([50, 9])
    mask = SpecAugment(times=1, frequencies=1, longest=30, widest=2, bands=4)
    drawn = set()
    for seed in range(50):
        torch.manual_seed(seed)
        found = mask(values, lengths)
        for b, most in enumerate((10, 1)):  # a fifth of the recording
            blotted = found[:, b] == 0
            times, bands = blotted.all(1), blotted.all(0).view(3, 4)
            assert times.sum() <= most
            assert not times[lengths[b] :].any(), "what is beyond the end needs no mask"
            assert bands.sum(1).tolist() == [bands[0].sum()] * 3, "slopes are masked with their band"
            assert bands[0].sum() <= 2
            assert torch.equal(blotted, times[:, None] | bands.view(-1))
            drawn.add((b, int(times.sum()), int(bands[0].sum())))
    assert {size for b, size, _ in drawn if b == 0} == set(range(11)), "every length is drawn"
    assert {width for *_, width in drawn} == {0, 1, 2}
    assert torch.equal(mask.eval()(values, lengths), values)


def test_masks_that_cannot_be():
    with pytest.raises(ConfigError):
        SpecAugment(times=-1)
    with pytest.raises(ShapeError, match="41 channels are no multiple of the 40 bands"):
        SpecAugment(bands=40)(torch.zeros(9, 1, 41), torch.tensor([9]))
    for steps in (1, 4, 5):
        assert SpecAugment(bands=1)(torch.ones(steps, 1, 3), torch.tensor([steps])).shape == (steps, 1, 3)


class TestVoices:
    """Of a voice that is as long or as fast as it is said to be; the factors are drawn, so they are held here."""

    FEATURES = LogMel(rate=RATE, bands=40)

    @staticmethod
    def always(monkeypatch, factor):
        """Draw this share of what may be drawn at most."""
        monkeypatch.setattr(augmentation, "between", lambda like, most: torch.full_like(like, factor * most))

    @pytest.mark.parametrize("factor", [0.15, -0.15, 0.0])
    def test_a_longer_tract_is_a_tone_of_another_pitch(self, monkeypatch, factor):
        self.always(monkeypatch, factor / 0.2)
        voice = VoiceAugment(self.FEATURES, tract=0.2, tempo=0)
        low, other = (torch.from_numpy(self.FEATURES(tone(hertz))) for hertz in (1000, 1000 / (1 + factor)))
        found = voice(low[:, None], torch.tensor([len(low)]))[:, 0]
        # A tone lies between two bands, so a peak is known to half of one; the warping itself is judged below.
        assert abs(int(found[20].argmax()) - int(other[20].argmax())) <= 1
        assert (found[20].argmax() == low[20].argmax()) == (factor == 0)

    def test_bands_are_taken_from_where_the_frequency_is(self, monkeypatch):
        self.always(monkeypatch, 1.0)
        frequencies = torch.tensor(self.FEATURES.centres, dtype=torch.float32)
        found = VoiceAugment(self.FEATURES, tract=0.1, tempo=0)(frequencies.repeat(3, 2, 1), torch.tensor([3, 2]))
        inside = frequencies * 1.1 < frequencies[-1]
        torch.testing.assert_close(found[0, 1, inside], frequencies[inside] * 1.1, rtol=0, atol=4)
        assert (found[0, 1, ~inside] == frequencies[-1]).all(), "beyond the last band is the last"
        assert torch.equal(found[2, 1], frequencies), "what is beyond the end stays"

    @pytest.mark.parametrize("direction", [1.0, -1.0])
    def test_time_goes_forward_from_the_beginning_to_the_end(self, monkeypatch, direction):
        self.always(monkeypatch, direction)
        steps = torch.arange(50.0)[:, None, None].repeat(1, 3, 40)
        lengths = torch.tensor([50, 21, 1])
        voice = VoiceAugment(self.FEATURES, tract=0, tempo=0.25)
        for seed in range(8):
            torch.manual_seed(seed)
            found = voice(steps, lengths)
            for b, length in enumerate(lengths.tolist()):
                times = found[:length, b, 0]
                torch.testing.assert_close(times[[0, -1]], torch.tensor([0.0, length - 1.0]), rtol=0, atol=1e-3)
                if length > 1:
                    speeds = times.diff()
                    assert 0.74 < speeds.min() < speeds.max() < 1.26
                    assert (times - steps[:length, b, 0]).abs().max() > 0.1, "it is another tempo"
                assert torch.equal(found[length:, b], steps[length:, b])

    def test_voice_and_tempo_together_are_what_the_docstring_says(self, monkeypatch):
        self.always(monkeypatch, 0.9)
        features = LogMel(rate=RATE, bands=9, low=100.0, high=3000.0, with_deltas=True)
        values, lengths = torch.randn(40, 2, 27), [40, 17]
        found = VoiceAugment(features, tract=0.2, tempo=0.5, turns=1)(values, torch.tensor(lengths))

        def mel(hertz):
            return 1127.01048 * np.log(1 + hertz / 700)

        # Where bands lie on the scale, at which equal steps of it are equal steps of bands.
        edges = np.linspace(mel(100.0), mel(3000.0), 11)
        hertz = 700 * (np.exp(edges[1:-1] / 1127.01048) - 1)
        at_band = np.interp(mel((1 + 0.18) * hertz), edges[1:-1], np.arange(9))
        for b, length in enumerate(lengths):
            t = np.arange(length)
            at_time = t + 0.45 * (length - 1) / math.pi * np.sin(math.pi * t / (length - 1))
            for slope in range(3):
                old = values[:length, b].view(length, 3, 9)[:, slope].double().numpy()
                then = np.stack([np.interp(at_time, t, band) for band in old.T], 1)
                wanted = np.stack([np.interp(at_band, np.arange(9), step) for step in then])
                new = found[:length, b].view(length, 3, 9)[:, slope].numpy()
                np.testing.assert_allclose(new, wanted, atol=2e-4)

    def test_what_stands_behind_the_end_is_not_heard(self):
        lengths = torch.arange(1, 61)
        values = torch.randn(60, 60, 40)
        beyond = torch.arange(60)[:, None] >= lengths
        for seed in range(3):
            torch.manual_seed(seed)
            found = VoiceAugment(self.FEATURES)(values.masked_fill(beyond[..., None], float("nan")), lengths)
            assert torch.equal(found.isnan().any(-1), beyond)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_steps_are_counted_in_any_type(self, dtype):
        values, lengths = torch.rand(600, 2, 40).to(dtype), torch.tensor([600, 301])
        found = VoiceAugment(self.FEATURES, tract=0, tempo=0)(values, lengths)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), values.float(), rtol=0, atol=1e-2)

    def test_slopes_move_with_their_bands(self):
        values = torch.randn(30, 2, 40)
        lengths = torch.tensor([30, 12])
        found = VoiceAugment(self.FEATURES)(values.repeat(1, 1, 3), lengths)
        assert torch.equal(found[..., :40], found[..., 40:80])
        assert torch.equal(found[..., :40], found[..., 80:])
        assert not torch.equal(found[..., :40], values)

    def test_each_sound_has_a_voice_of_its_own(self):
        found = VoiceAugment(self.FEATURES)(torch.randn(30, 1, 40).repeat(1, 2, 1), torch.tensor([30, 30]))
        assert not torch.equal(found[:, 0], found[:, 1])

    def test_a_sound_that_is_learnt_from_has_a_voice_and_masks(self):
        augment, values, lengths = SoundAugment(self.FEATURES), torch.randn(60, 2, 120), torch.tensor([60, 40])
        found = augment(values, lengths)
        assert (found == 0).any()
        assert ((found != values) & (found != 0)).any()
        assert torch.equal(augment.eval()(values, lengths), values)

    def test_a_single_band_and_step(self):
        voice = VoiceAugment(LogMel(rate=RATE, bands=1))
        values = torch.randn(1, 2, 1)
        torch.testing.assert_close(voice(values, torch.tensor([1, 1])), values)

    @pytest.mark.parametrize("options", [{"tract": 1.0}, {"tempo": -0.1}, {"turns": 0}], ids=str)
    def test_voices_that_cannot_be(self, options):
        with pytest.raises(ConfigError, match="VoiceAugment"):
            VoiceAugment(self.FEATURES, **options)
        with pytest.raises(ShapeError, match="41 channels"):
            VoiceAugment(self.FEATURES)(torch.zeros(9, 1, 41), torch.tensor([9]))


class TestRecordings:
    def test_a_folder_for_each_class(self, tmp_path):
        names = (
            "two/b.wav",
            "one/deep/a.FLAC",
            "one/c.wav",
            "one/notes.txt",
            "one/._c.wav",
            "one/.old/c.wav",
            ".x.wav",
        )
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).touch()
        (tmp_path / "one" / "x.wav").mkdir()
        (tmp_path / "three").mkdir()
        (tmp_path / "three" / "gone.wav").symlink_to("nowhere")
        (tmp_path / "three" / "unreadable.M4A").touch()
        found = [(r.path.relative_to(tmp_path).as_posix(), r.label) for r in recordings(tmp_path)]
        assert found == [
            ("one/c.wav", "one"),
            ("one/deep/a.FLAC", "one"),
            ("three/gone.wav", "three"),
            ("three/unreadable.M4A", "three"),
            ("two/b.wav", "two"),
        ]
        assert [r.name for r in recordings(tmp_path)] == [str(r.path) for r in recordings(tmp_path)]

    def test_a_folder_of_files_has_no_labels(self, tmp_path):
        for name in ("b.wav", "a.wav", "notes.txt"):
            (tmp_path / name).touch()
        assert [(r.path.name, r.label) for r in recordings(tmp_path)] == [("a.wav", None), ("b.wav", None)]

    def test_a_file_beside_the_folders_of_classes(self, tmp_path):
        (tmp_path / "one").mkdir()
        for name in ("one/a.wav", "stray.wav"):
            (tmp_path / name).touch()
        with pytest.raises(DataError, match=r"stray\.wav lies beside the folders of the classes \('one' …\)"):
            recordings(tmp_path)

    def test_columns_by_their_names(self, tmp_path):
        (tmp_path / "list.tsv").write_text("speaker\tage\tfile\tclass\nanna\t7\ta.wav\tone\n\t\tb.wav\n")
        found = [(r.name, r.label, r.group) for r in recordings(tmp_path / "list.tsv")]
        assert found == [("a.wav", "one", "anna"), ("b.wav", None, None)]

    def test_a_list(self, tmp_path):
        (tmp_path / "list.tsv").write_text("path\tlabel\tspeaker\r\na.wav\tone\tanna\r\n\r\nb.wav\ttwo\n/c.wav\n")
        found = recordings(tmp_path / "list.tsv")
        assert [(r.label, r.group) for r in found] == [("one", "anna"), ("two", None), (None, None)]
        assert [r.path.as_posix() for r in found][1:] == [(tmp_path / "b.wav").as_posix(), "/c.wav"]

    def test_of_two_columns_that_would_do_the_usual_one(self, tmp_path):
        (tmp_path / "list.tsv").write_text("class\tlabel\tpath\taudio\nx\tone\ta.wav\tb.wav\n")
        assert [(r.name, r.label) for r in recordings(tmp_path / "list.tsv")] == [("a.wav", "one")]

    def test_one_file(self, tmp_path):
        assert [r.path for r in recordings(tmp_path / "a.wav")] == [tmp_path / "a.wav"]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a.wav\tx\ty\tz\n", "line 1: a line is a path"),
            ("\tone\n", "line 1: a line is a path"),
            ("a.wav\tone\na.wav\ttwo\n", "line 2: a.wav stands in the list already"),
            ("path\tlabel\n", "names no recording"),
            ("path\tword\tspeaker\n", "of the columns path, word, speaker none is called label"),
            ("path\tlabel\na.wav\tone\tanna\n", "line 2: a line is a path"),
            ("label\tpath\none\n", "line 2: a line is a path"),
        ],
    )
    def test_lists_that_are_none(self, tmp_path, text, told):
        (tmp_path / "list.tsv").write_text(text)
        with pytest.raises(DataError, match=told):
            recordings(tmp_path / "list.tsv")

    def test_a_folder_without_sounds(self, tmp_path):
        with pytest.raises(DataError, match="holds no sounds"):
            recordings(tmp_path)

    def test_a_folder_that_may_not_be_read(self, tmp_path, monkeypatch):
        def refuse(self):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.iterdir", refuse)
        with pytest.raises(DataError, match="cannot be looked through: Permission denied"):
            recordings(tmp_path)

    @pytest.mark.parametrize(
        ("content", "wanted"),
        [
            (b"a.flac\tone\n", True),
            (b"label\tpath\none\ta.WAV\n", True),
            (b"path\tlabel\n", False),
            (b"a.flac\tone\nb.flac\tone\nc.odd\ttwo\n", True),
            (b"1\tterribly exciting\n", False),
            (b"1\twhy does it not play song.mp3\n0\tI like it\n", False),
            (b"series,x\na,1\n", False),
            (b"", False),
            (b"\x93NUMPY\0\0", False),
            (b"\x1f\x8bno gzip", False),
        ],
    )
    def test_what_sounds_are_told_by(self, tmp_path, content, wanted):
        (tmp_path / "list").write_bytes(content)
        assert are_sounds(tmp_path / "list") is wanted
        assert are_sounds(tmp_path)
        assert not are_sounds("-")
        assert not are_sounds(tmp_path / "nowhere.tsv")
