"""Random cells, compiled, against the reference: ``python -m tests.compiler.fuzz --minutes 60 [--first SEED]``.

Each seed is a cell, sizes, lengths, directions, memory, blocks of steps and a division among threads of its own; one
that fails is printed with its equations.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tests.compiler.random_cell import OPERATION_OF, cell_class, text_of
from tests.recurrence.case import Case, distance

from gateflow.backends.cpu import kernel, launch, partition

SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 33]
NEAR = 1e-9
WOBBLE = 1e-12
DRAWN = Counter[str]()
"""How often each operation was drawn so far."""


def case_of(seed: int) -> tuple[Case, str]:
    """The case that a seed stands for, in fp64, and the text of its cell."""
    chance = random.Random(seed)
    H = chance.choice(SIZES)
    I = H if chance.random() < 0.4 else chance.choice(SIZES)
    text = text_of(seed, direct=I == H, one_unit=H == 1, drawn=DRAWN)
    cls = cell_class(text, f"Random{seed}")
    torch.manual_seed(seed)
    cells = tuple(cls(I, H, bias=seed % 5 > 0, dtype=torch.float64) for _ in range(chance.choice([1, 2])))
    T, B = chance.randint(1, 7), chance.choice([1, 2, 3, 4, 5, 6, 9, 13, 26])
    lengths = [chance.randint(0, T) for _ in range(B)] if chance.random() < 0.5 else None
    memory = chance.choice(["fast", "lean"])
    return Case(cells, T, B, lengths, zoneout=chance.random() < 0.2, memory=memory, seed=seed), text


@contextmanager
def divided(seed: int) -> Iterator[None]:
    """Threads divide the work in one way or another, and blocks of steps that run ahead are short or long."""
    chance = random.Random(f"division {seed}")
    groups, parts = chance.choice([(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])
    DRAWN[f"{groups} groups of {parts} parts"] += 1
    before = launch.partition, kernel.AHEAD, torch.get_num_threads()
    launch.partition = lambda *run: partition.divided(groups, parts, *run)
    kernel.AHEAD = chance.choice([1, 8, 30, before[1]])
    torch.set_num_threads(groups * parts)
    try:
        yield
    finally:
        launch.partition, kernel.AHEAD = before[:2]
        torch.set_num_threads(before[2])


def disagreement(case: Case) -> str:
    """How the native path differs from the reference by more than the reference is sure of; "" if it does not."""
    with divided(case.seed):
        found = case.run("native")
    wanted = case.run("reference")
    apart = {name: distance(found[name], wanted[name]) for name in wanted}
    if max(apart.values()) <= NEAR:
        return ""
    with torch.no_grad():  # a comparison may hang by a hair
        for tensor in case.inputs().values():
            # Zeros must move as well: a norm over one unit is its bias, and `abs` has a kink there (seed 50019).
            tensor.add_(
                WOBBLE * torch.randn(tensor.shape, generator=case.random, dtype=tensor.dtype) * (1 + tensor.abs())
            )
    moved = case.run("reference")
    return "\n".join(
        f"  {name}: {gap:.1e} apart"
        for name, gap in apart.items()
        if gap > NEAR + 1000 * distance(moved[name], wanted[name])
    )


def main() -> int:
    """Goes through seeds until the time is up; the exit code says whether all agreed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--count", type=int, default=1 << 40)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    end, seed, failed = time.monotonic() + 60 * asked.minutes, asked.first, 0
    with tempfile.TemporaryDirectory() as kernels:
        os.environ["GATEFLOW_CACHE"] = kernels
        while time.monotonic() < end and seed < asked.first + asked.count:
            failed += _told(seed)
            seed += 1
    sys.stdout.write(
        f"drawn: {', '.join(f'{name} {DRAWN[name]}' for name in dict.fromkeys([*OPERATION_OF.values(), *DRAWN]))}\n"
    )
    sys.stdout.write(f"{seed - asked.first} cells from seed {asked.first} on, {failed} failed\n")
    return 1 if failed else 0


def _told(seed: int) -> bool:
    text = ""
    try:
        case, text = case_of(seed)
        problem = disagreement(case)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        problem = f"  {type(error).__name__}: {error}"
    if problem:
        sys.stdout.write(f"seed {seed}: {case_of(seed)[0]}\n{problem}\n{text}\n")
        sys.stdout.flush()
    return bool(problem)


if __name__ == "__main__":
    sys.exit(main())
