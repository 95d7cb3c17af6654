"""Recordings of single words joined to lines of several, for a transcriber: what is said in a row by one voice.

    python -m benchmarks.joined --data train.tsv --out DIR [--lines 2000] [--least 3] [--most 7] [--seed 0]

--data is a list without header: path, word and speaker in each line, as for `gateflow train classifier`. DIR gets a
FLAC file a line and lines.tsv, path and text, as `gateflow train transcriber` reads it. Speakers take turns, words and
takes are drawn; recordings follow each other as they are, with their own silence.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from numpy.typing import NDArray

# Of one recording: where it lies, and what is said.
Word = tuple[Path, str]


def by_speaker(file: Path) -> dict[str, list[Word]]:
    """The recordings of each speaker, those of a list in its order."""
    found: dict[str, list[Word]] = defaultdict(list)
    with file.open(encoding="utf-8", newline="") as rows:
        for path, word, speaker in csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
            found[speaker].append((file.parent / path, word))
    return dict(found)


def drawn(speakers: dict[str, list[Word]], lines: int, lengths: Sequence[int], seed: int) -> Iterator[list[Word]]:
    """Words of one speaker for each line, the same for a seed."""
    random, names = Random(seed), sorted(speakers)
    for i in range(lines):
        yield random.choices(speakers[names[i % len(names)]], k=random.choice(lengths))


def joined(words: Sequence[Word]) -> tuple[NDArray[np.float32], int]:
    """The recordings one after the other, and their rate."""
    read = [soundfile.read(path, dtype="float32") for path, _ in words]
    rates = {rate for _, rate in read}
    assert len(rates) == 1, f"{words[0][0]} and others have the rates {sorted(rates)}; a line has one"
    return np.concatenate([samples for samples, _ in read]), rates.pop()


def main() -> None:
    """Write the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--least", type=int, default=3)
    parser.add_argument("--most", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    told = []
    lengths = range(asked.least, asked.most + 1)
    for i, words in enumerate(drawn(by_speaker(asked.data), asked.lines, lengths, asked.seed)):
        soundfile.write(asked.out / f"{i:05}.flac", *joined(words))
        told.append(f"{i:05}.flac\t{' '.join(word for _, word in words)}\n")
    (asked.out / "lines.tsv").write_text("".join(told), encoding="utf-8")
    print(f"{len(told):,} lines in {asked.out / 'lines.tsv'}")


if __name__ == "__main__":
    main()
