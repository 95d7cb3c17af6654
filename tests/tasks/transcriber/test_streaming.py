"""A sound that is transcribed as it comes: at the end what the whole would have been, and nothing is written early."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tests.tasks.transcriber.conftest import config_of
from tests.tasks.transcriber.lines import texts, tones, write_sounds

from gateflow.data.sounds.spectrogram import LogMel
from gateflow.data.sounds.stream import LogMelStream, pieces_of
from gateflow.data.source import STDIN
from gateflow.errors import ConfigError, DataError
from gateflow.tasks.description import Given
from gateflow.tasks.transcriber.data import own_lines, set_up
from gateflow.tasks.transcriber.given import lines_of
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.prediction import predict
from gateflow.tasks.transcriber.streaming import Stream
from gateflow.tasks.transcriber.transcribing import transcribe_lines

ASKED = {"beam": None, "lm": None, "lm_weight": 0.5, "insertion": 0.0, "nbest": 1, "skip_bad": False, "batch_size": 16}


@pytest.mark.parametrize("cut", [37, 200, 801, 10_000])
def test_the_stream_is_the_best_path_of_the_whole(listener, cut):
    learnt, config = load(listener), listener.config()
    for seed, text in enumerate(texts(6, 9)):
        sound = tones(text, seed)
        stream = Stream(learnt, config)
        written = [
            (begin + cut, x) for begin in range(0, len(sound), cut) for x in stream.read(sound[begin : begin + cut])
        ]
        written += [(len(sound), x) for x in stream.end()]
        (whole,) = predict(learnt, lines_of([sound], config))
        assert "".join(x.text for _, x in written) == whole.text
        rate = config.sounds.rate
        for known, x in written:
            # With the piece in which the sound of its frame ends.
            assert known - cut < x.time * rate <= known + 1
        heard = [x.time - stream.latency for _, x in written]
        assert heard == pytest.approx([x.begin for x in whole.characters], abs=config.reduction * config.sounds.hop)


def test_integers_are_the_sound_that_they_are(listener):
    learnt, config = load(listener), listener.config()
    sound = tones("cab", 3)
    whole = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    stream = Stream(learnt, config)
    written = [x for begin in range(0, len(whole), 800) for x in stream.read(whole[begin : begin + 800])]
    assert "".join(x.text for x in [*written, *stream.end()]) == "cab"
    assert [x.text for x in predict(learnt, lines_of([whole, sound], config))] == ["cab", "cab"]
    with pytest.raises(DataError, match=r"line 0 holds samples up to .*Scale it"):
        list(lines_of([whole.astype(np.float32)], config))


def test_what_comes_later_changes_nothing_that_was_written(listener):
    learnt, config = load(listener), listener.config()
    sound = tones("abc", 1)
    silent = sound.copy()
    silent[len(sound) // 2 :] = 0
    first, second = (Stream(learnt, config).read(x)[:1] for x in (sound, silent))
    assert first == second != []


def test_frames_of_a_stream_are_those_of_the_whole():
    mel, sound = LogMel(rate=8000, bands=20), tones("abc")
    for size in (1, 79, 80, 200, 999):
        stream = LogMelStream(mel)
        parts = [stream.frames(sound[i : i + size]) for i in range(0, len(sound), size)]
        assert np.allclose(np.concatenate([*parts, stream.rest()]), mel(sound), atol=1e-5)
    # Frames that are further apart than they are long, by more than comes at once too.
    for window, hop in ((0.01, 0.03), (0.01, 0.0101)):
        apart = LogMel(rate=8000, bands=8, window=window, hop=hop)
        for size in (1, 50, 90, 999):
            stream = LogMelStream(apart)
            parts = [stream.frames(sound[i : i + size]) for i in range(0, len(sound), size)]
            assert np.array_equal(np.concatenate([*parts, stream.rest()]), apart(sound))
    short = LogMelStream(mel)
    assert len(short.frames(sound[:10])) == 0
    assert np.allclose(short.rest(), mel(sound[:10]), atol=1e-5)
    for options in ({"top_db": 50.0}, {"centred": True}, {"with_deltas": True}):
        with pytest.raises(ConfigError, match="look at a whole recording"):
            LogMelStream(LogMel(rate=8000, bands=20, **options))


def test_the_verb_tells_the_latency_and_writes_as_it_comes(listener, tmp_path, monkeypatch):
    sound = tones("cab", 3)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="PCM_16")
    shown = list(transcribe_lines(Given(listener), data=tmp_path / "a.wav", stream=True, **ASKED).items)
    # 25 ms and four steps of 10 ms, the last of which is the window's.
    assert shown[0][0].startswith("latency 55 ms")
    assert shown[0][1]["latency"] == pytest.approx(0.055)
    assert shown[-1] == (f"end\t{shown[-1][1]['text']}", shown[-1][1])
    assert "".join(x["text"] for _, data in shown[1:-1] for x in data["new"]) == shown[-1][1]["text"] == "cab"
    raw, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw.tobytes()), isatty=lambda: False))
    piped = list(transcribe_lines(Given(listener), data=STDIN, stream=True, **ASKED).items)
    assert piped[-1] == shown[-1]


def test_what_cannot_be_streamed_is_refused(listener, reader, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones("a", rate=16000), 16000)
    with pytest.raises(DataError, match="has 16,000 samples a second, and a stream is read with 8,000"):
        next(pieces_of(tmp_path / "a.wav", 8000))
    with pytest.raises(ConfigError, match="--stream is for sounds"):
        list(transcribe_lines(Given(reader), data=tmp_path / "a.wav", stream=True, **ASKED).items)
    with pytest.raises(ConfigError, match="best path of one sound"):
        transcribe_lines(Given(listener), data=tmp_path / "a.wav", stream=True, **{**ASKED, "beam": 4})
    with pytest.raises(ConfigError, match="--data - is for samples"):
        transcribe_lines(Given(listener), data=STDIN, stream=False, **ASKED)


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff", "au", "ogg", None])
def test_a_file_that_is_piped_in_is_no_samples(tmp_path, monkeypatch, ending):
    file = tmp_path / f"a.{ending}"
    if ending:
        soundfile.write(file, tones("a"), 8000)
    data = file.read_bytes() if ending else b""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))
    with pytest.raises(DataError, match=f"(?i)is a {ending} file, and samples" if ending else "not one sample"):
        list(pieces_of(STDIN, 8000))


def test_a_network_that_reads_from_the_end_is_no_stream(tmp_path):
    files = write_sounds(tmp_path / "s", texts(6))
    run = set_up(tmp_path / "run", config_of(train=files, bands=20))
    config = run.config()
    # Of a whole recording its loudest part and its mean are known.
    assert (config.sounds.top_db, config.sounds.centred) == (50.0, True)
    learnt = load_untrained(run)
    with pytest.raises(ConfigError, match="train one with --no-bidirectional"):
        Stream(learnt, config)
    one = set_up(tmp_path / "one", config_of(train=files, bands=20, bidirectional=False, centred=True))
    assert (one.config().sounds.top_db, one.config().sounds.centred) == (None, True)
    with pytest.raises(ConfigError, match="train without them"):
        Stream(load_untrained(one), one.config())
    assert own_lines(one, "valid")


def load_untrained(run):
    from gateflow.tasks.transcriber.learnt import Learnt
    from gateflow.tasks.transcriber.loading import build_model, load_alphabet, load_encoder

    encoder, alphabet = load_encoder(run), load_alphabet(run)
    return Learnt(build_model(run.config(), encoder, alphabet).eval(), encoder, alphabet)
