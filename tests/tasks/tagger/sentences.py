"""Sentences after the lectures: only what comes behind says whether *Teddy* is a name; some are Korean."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random

OPENINGS = ("He said ,", "She thinks", "We hear", "", "They know that")
FIRST = ("Teddy", "Rosa", "Paris", "Lincoln")
NAMES = ("Roosevelt was a great President", "Parks wrote to them", "Hilton came", "Steffens left")
THINGS = ("bears are on sale", "gardens are open", "streets are long", "logs burn")
KOREAN = ("어제 테디 루스벨트 는 왔다", "O B-PER I-PER O O"), ("오늘 테디 베어 를 판다", "O O O O O")


def sentences(count: int = 160, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Words and their tags in IOB2."""
    found: list[tuple[list[str], list[str]]] = []
    for opening, first, rest in product(OPENINGS, FIRST, NAMES + THINGS):
        before, behind = opening.split(), rest.split()
        named = rest in NAMES
        tags = ["O"] * len(before) + (["B-PER", "I-PER"] if named else ["O", "O"]) + ["O"] * (len(behind) - 1)
        found.append(([*before, first, *behind], tags))
    found += [(words.split(), tags.split()) for words, tags in KOREAN]
    return Random(seed).sample(found, min(count, len(found)))


def write(file: Path, pairs: list[tuple[list[str], list[str]]], separator: str = "\t") -> Path:
    """As CoNLL columns."""
    blocks = ("".join(f"{w}{separator}{t}\n" for w, t in zip(words, tags, strict=True)) for words, tags in pairs)
    file.write_text("\n".join(blocks), encoding="utf-8")
    return file
