"""Joined handwriting of our own making, as data for a transcriber of pen strokes: nothing is downloaded.

    python examples/cursive.py cursive/
    gateflow train transcriber --data cursive/train.jsonl --valid cursive/valid.jsonl --out runs/cursive
    gateflow transcribe runs/cursive --data cursive/valid.jsonl

Words are made of syllables, so that no list of words is needed, and few of those to validate on are learnt from.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np

from gateflow.data.strokes.cursive import cursive_lines

SYLLABLES = ["".join(parts) for parts in product("bdfghjklmnprstvwz", "aeiouy", ["", "n", "r", "s", "x", "q", "c"])]


def texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(SYLLABLES, random.integers(1, 4))) for _ in range(3 * count)]
    return [" ".join(words[3 * i : 3 * i + random.integers(1, 4)]) for i in range(count)]


def main(folder: Path, lines: int = 2000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate([("train", lines), ("valid", lines // 10), ("test", lines // 10)]):
        (folder / f"{name}.jsonl").write_text("".join(cursive_lines(texts(count, seed), seed)))
        print(f"{folder / name}.jsonl: {count} lines")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "cursive"), *map(int, sys.argv[2:3]))
