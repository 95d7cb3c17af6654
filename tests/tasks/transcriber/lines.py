"""Lines of each kind that are easy to learn: bars of a few widths, tones of a few pitches, cursive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from gateflow.data.strokes.cursive import cursive_lines

WORDS = ["ab", "ba", "a b", "bab", "aab", "cab", "a c", "bc b", "cc", "acb"]
# Grey values of three letters, row by row: a full bar, an upper and a lower half.
_LETTERS = {"a": (1, 1, 1), "b": (1, 0, 0), "c": (0, 0, 1)}
_PITCHES = {"a": 400, "b": 900, "c": 1800}


def texts(count: int, seed: int = 0) -> list[str]:
    """Some of few words, in an order by chance."""
    return np.random.default_rng(seed).choice(WORDS, count).tolist()


def picture(text: str, seed: int = 0, height: int = 24) -> Image.Image:
    """Each letter is a bar, whole or half, with paper around it."""
    random = np.random.default_rng(seed)
    third = height // 4
    columns = [np.zeros((height, 6))]
    for letter in text:
        bar = np.zeros((height, 12))
        for k, inked in enumerate(_LETTERS.get(letter, (0, 0, 0))):
            bar[third // 2 + k * third : third // 2 + (k + 1) * third, 3:9] = inked
        columns.append(bar)
    ink = np.concatenate([*columns, np.zeros((height, 6))], 1)
    return Image.fromarray(np.clip(240 - 220 * ink + random.normal(0, 4, ink.shape), 0, 255).astype(np.uint8))


def tones(text: str, seed: int = 0, rate: int = 8000) -> np.ndarray:
    """Each letter is a tone, with silence around it."""
    random = np.random.default_rng(seed)
    parts = [np.zeros(rate // 20)]
    for letter in text:
        times = np.arange(rate // 10) / rate
        parts += [np.sin(2 * np.pi * _PITCHES.get(letter, 0) * times) * 0.5, np.zeros(rate // 20)]
    sound = np.concatenate(parts)
    return (sound + random.normal(0, 0.005, len(sound))).astype(np.float32)


def write_images(folder: Path, lines: list[str], seed: int = 0) -> Path:
    """A list with a picture for each text."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(lines):
        picture(text, seed + i).save(folder / f"{i}.png")
    return _listed(folder, "png", lines)


def write_sounds(folder: Path, lines: list[str], rate: int = 8000) -> Path:
    """A list with a recording for each text."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(lines):
        soundfile.write(folder / f"{i}.wav", tones(text, i, rate), rate)
    return _listed(folder, "wav", lines)


def write_strokes(file: Path, lines: list[str], seed: int = 0) -> Path:
    """Cursive of our own making."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(cursive_lines(lines, seed)))
    return file


def _listed(folder: Path, ending: str, lines: list[str]) -> Path:
    file = folder / "list.tsv"
    file.write_text("".join(f"{i}.{ending}\t{text}\n" for i, text in enumerate(lines)))
    return file
