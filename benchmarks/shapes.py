"""The shapes, written B/T/I/H: rows, time steps, size of the input, size of the state."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One batch; where `shortest` is given its rows are ragged, from `shortest` to `T` steps, in no order."""

    B: int
    T: int
    I: int  # noqa: E741
    H: int
    shortest: int | None = None

    @property
    def name(self) -> str:
        """As it is written on the command line: `32/100/256/256`, `32/5-100/256/256`."""
        steps = f"{self.T}" if self.shortest is None else f"{self.shortest}-{self.T}"
        return f"{self.B}/{steps}/{self.I}/{self.H}"

    @property
    def lengths(self) -> list[int] | None:
        """Evenly spread, shuffled, the same in each run."""
        if self.shortest is None:
            return None
        spread = [self.shortest + (self.T - self.shortest) * row // max(self.B - 1, 1) for row in range(self.B)]
        # In no order: a batch of a user's is not sorted either.
        random.Random(0).shuffle(spread)
        return spread

    @property
    def tokens(self) -> int:
        """Time steps of all rows together."""
        return sum(self.lengths or [self.T] * self.B)


def parse(text: str) -> Shape:
    """A shape from its name; `ragged` is the one of the default list."""
    if text == "ragged":
        return RAGGED
    try:
        B, steps, I, H = text.split("/")  # noqa: E741
        *shortest, T = map(int, steps.split("-"))
        return Shape(int(B), T, int(I), int(H), *shortest)
    except (ValueError, TypeError):
        raise SystemExit(
            f"--shapes {text}: write B/T/I/H as in 32/100/256/256, 32/5-100/256/256, or `ragged`"
        ) from None


RAGGED = parse("32/5-100/256/256")
SHORT = parse("20/10/200/200")  # for torch.compile of the loop, whose compile time grows with T
SHAPES = [
    *map(parse, ["1/100/128/128", "32/100/128/128", "32/100/256/256", "20/35/200/200", "20/70/650/650"]),
    *map(parse, ["64/100/512/512", "8/400/256/256", "128/50/1024/1024", "16/1024/768/768"]),
    RAGGED,
]
QUICK = [*map(parse, ["1/100/128/128", "20/35/200/200"]), RAGGED]
STREAM = parse("1/100/256/256")
