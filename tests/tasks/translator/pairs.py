"""Pairs after a little grammar: words are read from their end, and an ending is chosen by a feature."""

from __future__ import annotations

from pathlib import Path
from random import Random

LETTERS, SOUNDS = "abcdeㅎ", {"a": "A", "b": "B", "c": "TS", "d": "D", "e": "E", "ㅎ": "H"}


def pairs(count: int = 200, seed: int = 0) -> list[tuple[str, str]]:
    """Spellings of two to five letters, and their sounds in reverse order, separated by spaces; no spelling twice."""
    random, found = Random(seed), dict[str, str]()
    while len(found) < count:
        word = "".join(random.choice(LETTERS) for _ in range(random.randint(2, 5)))
        found[word] = " ".join(SOUNDS[letter] for letter in reversed(word))
    return list(found.items())


def write(file: Path, rows: list[tuple[str, ...]]) -> Path:
    """As TSV."""
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return file


def inflected(count: int = 120, seed: int = 1) -> list[tuple[str, str, str]]:
    """A lemma, what is asked for, and the form."""
    endings = {"V;PST": "ed", "V;PRS;3": "s", "V;PTCP": "ing"}
    lemmas = [spelling for spelling, _ in pairs(count // 3, seed)]
    return [(lemma, lemma + ending, feature) for lemma in lemmas for feature, ending in endings.items()]
