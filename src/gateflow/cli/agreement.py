"""``gateflow agreement``: how often a run prefers the grammatical sentence of a pair."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, print_table
from gateflow.cli.visible import VisibleConsole

if TYPE_CHECKING:
    from gateflow.data.pairs import Pair
    from gateflow.tasks.pairs import Judgement

PER_DISTANCE = 200


def agreement(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Pairs as TSV with columns grammatical and ungrammatical (construct groups them), plain or gz; "
            "else pairs of the built-in grammar, by distance from subject to verb."
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Pairs judged per construct, drawn at random.")] = 500,
    seed: Annotated[int, typer.Option(help="Which pairs are drawn.")] = 0,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """How often a run gives the grammatical sentence the higher probability; guessing gets half.

    Example: `gateflow agreement runs/mine --data pairs.tsv`

    Pairs with words that the run has never seen are not judged, and counted apart.
    """
    from rich.progress import track

    from gateflow.tasks.pairs import judge
    from gateflow.training.language_model import load_model, load_tokenizer
    from gateflow.training.runs import Run
    from gateflow.training.trust import Trust

    opened = Run.open(run, Trust(trust_code))
    pairs = _drawn(_pairs(data, seed), most, seed)
    judged = judge(load_model(opened), load_tokenizer(opened), pairs)
    err = VisibleConsole(stderr=True)
    rows = _count(track(judged, "judging", total=len(pairs), console=err, transient=True, disable=not err.is_terminal))
    if json:
        print_json([dict(zip(("construct", "judged", "right", "unknown"), row, strict=True)) for row in rows])
        return
    shown = [(name, f"{right / n:.3f}" if n else "–", f"{n:,}", f"{unknown:,}") for name, n, right, unknown in rows]
    print_table(("construct", "right", "pairs", "not judged"), shown)


def _pairs(data: Path | None, seed: int) -> Iterable[Pair]:
    from gateflow.data.agreement import BUCKETS, split
    from gateflow.data.pairs import pairs_of, read_pairs

    if data is not None:
        return read_pairs(data)
    sentences = split(0, PER_DISTANCE * len(BUCKETS), seed)[1]
    return pairs_of(sorted(sentences, key=lambda sentence: sentence.distance))


def _drawn(pairs: Iterable[Pair], most: int, seed: int) -> list[Pair]:
    """At most so many pairs of each construct, in the order of the file."""
    import random

    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.construct, []).append(pair)
    rng = random.Random(seed)
    return [pair for group in groups.values() for pair in rng.sample(group, min(most, len(group)))]


def _count(judged: Iterable[Judgement]) -> list[tuple[str, int, int, int]]:
    """Construct, judged, right, unknown; the last row is all of them."""
    counts: dict[str, list[int]] = {}
    for construct, right in judged:
        row, everything = (counts.setdefault(name, [0, 0, 0]) for name in (construct, ""))
        for c in (row, everything):
            c[0], c[1], c[2] = c[0] + (right is not None), c[1] + bool(right), c[2] + (right is None)
    total = counts.pop("", [0, 0, 0])
    rows = {**counts, "all together": total}
    return [(name, n, right, unknown) for name, (n, right, unknown) in rows.items()]
