"""A recording transcribed as it comes: each character is written as soon as the network has heard it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gateflow.data.series import Series
from gateflow.data.sounds.stream import LogMelStream, pieces_of
from gateflow.data.transcripts import plain
from gateflow.errors import ConfigError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.transcriber.alphabet import BLANK
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.learnt import Learnt

__all__ = ["Stream", "Written", "stream_lines"]


@dataclass(frozen=True)
class Written:
    """A character of a stream.

    Attributes:
        text: the character.
        time: seconds from the beginning at which the network had heard enough to write it.
        confidence: the probability that it gives it then.
    """

    text: str
    time: float
    confidence: float


class Stream:
    """A transcriber that is fed with sound: what it writes is, at the end, the best path of the whole.

    A character is written with the first frame at which it is the likeliest. A frame is known when the sound has come
    as far as its last step's window, so the latency is a window, and what it takes to fill up a frame of the layers.

    Args:
        learnt: by a run of sounds with ``--no-bidirectional``.
        config: of the run.

    Raises:
        ConfigError: the run is not of sounds, or needs a recording's end before its beginning can be read.
    """

    def __init__(self, learnt: Learnt, config: TranscriberConfig) -> None:
        if config.kind != "sound":
            raise ConfigError("--stream is for sounds, and this run has learnt from others; leave it out.")
        if config.model.bidirectional:
            raise ConfigError(
                "--stream writes as the sound comes, and this network reads it from its end too; train one with "
                "--no-bidirectional."
            )
        features = config.sounds.features()
        self.learnt, self.features = learnt, LogMelStream(features)
        model = learnt.model
        self.front = None if model.front is None else model.front.stream()
        self.reduction = config.reduction
        self.hop, self.window = features.hop_samples / features.rate, features.window_samples / features.rate
        self._state: Any = None
        self._before = BLANK
        self._frames = 0

    @property
    def latency(self) -> float:
        """Seconds from a sound to the frame that has heard it, at most."""
        return self.window + (self.reduction - 1) * self.hop

    def read(self, samples: NDArray[Any]) -> list[Written]:
        """What is written when these samples have come."""
        return self._write(self.features.frames(samples))

    def end(self) -> list[Written]:
        """What is written when no more come."""
        return self._write(self.features.rest())

    @torch.inference_mode()
    def _write(self, frames: NDArray[np.float32]) -> list[Written]:
        if not len(frames):
            return []
        model = self.learnt.model
        steps = self.learnt.encoder.steps(Series(frames, "a stream"))[:, None].to(model.head.weight.device)
        with evaluating(model):
            vectors = steps if self.front is None else self.front(steps)
            if not len(vectors):
                return []
            hidden, self._state = model.recurrent(vectors, self._state)
            log_probs = model.head(hidden).float().log_softmax(-1)[:, 0]
        return list(self._new(log_probs))

    def _new(self, log_probs: Tensor) -> Iterator[Written]:
        values, classes = log_probs.max(-1)
        for value, found in zip(values.exp().tolist(), classes.tolist(), strict=True):
            heard = self._frames * self.reduction * self.hop + self.window
            self._frames += 1
            if found not in (BLANK, self._before):
                yield Written(self.learnt.alphabet.text([found]), round(heard, 4), value)
            self._before = found


def stream_lines(learnt: Learnt, config: TranscriberConfig, data: Path) -> Iterator[tuple[str, Any]]:
    """Yield what is new with each piece of a sound, and at the end all of it.

    Raises:
        ConfigError: the run cannot read a stream.
        DataError: the sound cannot be read.
    """
    stream = Stream(learnt, config)
    told = f"latency {1000 * stream.latency:.0f} ms: a window of {1000 * stream.window:.0f} ms"
    told += f" and {stream.reduction} steps of {1000 * stream.hop:.0f} ms a frame"
    yield told, {"latency": stream.latency, "window": stream.window, "frame": stream.reduction * stream.hop}
    whole: list[Written] = []
    assert config.sounds.rate is not None, "found when the run was set up"
    for written in _all_written(stream, pieces_of(data, config.sounds.rate)):
        whole += written
        text = "".join(x.text for x in written)
        yield f"{written[-1].time:.2f}\t{text}", {"time": written[-1].time, "new": [vars(x) for x in written]}
    text = plain("".join(x.text for x in whole))
    yield f"end\t{text}", {"text": text}


def _all_written(stream: Stream, pieces: Iterator[NDArray[np.float32]]) -> Iterator[list[Written]]:
    for piece in pieces:
        if written := stream.read(piece):
            yield written
    if written := stream.end():
        yield written
