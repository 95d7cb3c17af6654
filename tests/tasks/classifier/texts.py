"""Opinions out of a seed: good or bad, and the word before may turn it round."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

FILM = "the film the plot an actor who sings".split()


def opinions(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts and their labels."""
    random = Random(seed)
    return [_opinion(random) for _ in range(count)]


def _opinion(random: Random) -> tuple[str, str]:
    word, turned = random.choice(["good", "great", "bad", "dull"]), random.random() < 0.4
    before, after = (random.sample(FILM, random.randint(0, 4)) for _ in range(2))
    text = " ".join([*before, *(["not"] if turned else []), word, *after])
    return text, "pos" if (word in ("good", "great")) != turned else "neg"


def topics(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Texts with none, one or two labels: those of the words that stand in them."""
    random, words = Random(seed), {"goal": "sport", "vote": "politics", "song": "music"}
    found = []
    for _ in range(count):
        chosen = random.sample(list(words), random.choice([0, 1, 1, 2]))
        text = random.sample([*random.sample(FILM, 6), *chosen], 6 + len(chosen))
        found.append((" ".join(text), sorted(words[word] for word in chosen)))
    return found


def write(file: Path, rows: list, separator: str = ",") -> Path:
    """As TSV: label, then text."""
    lines = (f"{label if isinstance(label, str) else separator.join(label)}\t{text}\n" for text, label in rows)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def write_json(file: Path, rows: list) -> Path:
    """As JSON lines."""
    lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    file.write_text("".join(lines), encoding="utf-8")
    return file
