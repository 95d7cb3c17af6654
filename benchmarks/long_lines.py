"""Peak memory and time of a corpus in one line and in many: python -m benchmarks.long_lines [--megabytes 100]."""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

WORDS, WORDS_PER_LINE = 50_000, 15


def words(size: int) -> Iterator[str]:
    """Words of about a language's frequencies (Zipf), drawn until they fill `size` bytes."""
    rng = random.Random(0)
    known = ["".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", k=rng.randint(2, 10))) for _ in range(WORDS)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(WORDS)))
    while size > 0:
        for word in rng.choices(known, cum_weights=weights, k=10_000):
            yield word
            size -= len(word) + 1


def write(path: Path, size: int, many: bool) -> None:
    with path.open("w") as file:
        for number, word in enumerate(words(size), 1):
            file.write(word + ("\n" if many and number % WORDS_PER_LINE == 0 else " "))


def encode(kind: str, path: Path) -> None:
    from gateflow.data.tokens import build_tokenizer, encode_file

    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tokenizer = build_tokenizer(kind, path)
    built = time.perf_counter()
    tokens = encode_file(tokenizer, path, path.with_suffix(".npy")).tokens
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = f"tokenizer {built - start:6.1f} s, encoding {time.perf_counter() - built:6.1f} s"
    print(
        f"{kind:5} {path.stem:9} {tokens:12,} tokens  peak {peak:6.0f} MB ({before:.0f} before)  {seconds}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        encode(asked.one[0], Path(asked.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one_line", "many"):
            write(Path(folder, f"{name}.txt"), asked.megabytes * 10**6, many=name == "many")
        for kind in ("word", "char", "bpe"):
            for name in ("one_line", "many"):
                # A process each: the peak of a resident set never falls.
                command = [sys.executable, "-m", "benchmarks.long_lines", "--one", kind, f"{folder}/{name}.txt"]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
