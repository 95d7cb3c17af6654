"""gateflow next to its peers: `make bench`, or one row of it alone.

    python -m benchmarks                                              all figures, 20 minutes on two cores
    python -m benchmarks --quick                                      a glance, about a minute
    python -m benchmarks --cells lstm --shapes 64/100/512/512 --modes training --peers torch_nn --rounds 15
    make bench ARGS="--json bench.json --plot bench.svg"

Peers take turns in one process; medians are compared. Nothing is left out silently: where a peer has no figure, the
reason stands in its place.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from benchmarks import memory, plot, stress
from benchmarks.cases import planned
from benchmarks.cells import CELLS
from benchmarks.measure import Effort, measure
from benchmarks.peers import PEERS
from benchmarks.report import show
from benchmarks.shapes import QUICK, parse
from benchmarks.summary import Results, rows
from gateflow.benchmarking.machine import machine
from gateflow.errors import ReferencePathWarning

TIMED = ("inference", "training", "step")
ALONE: dict[str, Callable] = {
    "memory": memory.peak_memory,
    "subnormal": stress.subnormal,
    "load": stress.load,
}
# Load average above which somebody else is at work.
QUIET = 0.5


def main(words: Sequence[str] | None = None) -> None:
    """Measures, prints, saves."""
    asked = arguments(words)
    warnings.simplefilter("ignore", ReferencePathWarning)  # the tables say the path
    console, before = Console(highlight=False), os.getloadavg()[0]
    if not console.is_terminal:
        console.width = 160  # a file has no edge at which to wrap
    if before > QUIET:
        console.print(f"The machine is not quiet: load average {before:.2f}. Ratios may mislead.", style="yellow")
    results = run(asked, console)
    show(results, console)
    facts = {**machine(), "commit": _commit(), "load_before": before, "load_after": os.getloadavg()[0]}
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), style="dim", markup=False)
    if asked.json:
        asked.json.write_text(json.dumps(document(facts, results), indent=1), encoding="utf-8")
    if asked.plot:
        plot.save(results.figures, asked.plot)


def run(asked: argparse.Namespace, console: Console) -> Results:
    """All that was asked for; Ctrl-C ends it with what there is so far."""
    results, effort = Results(), Effort(asked.rounds, asked.seconds)
    cases = list(planned(asked.cells, asked.shapes, [m for m in asked.modes if m in TIMED], asked.precisions))
    alone = [mode for mode in asked.modes if mode in ALONE]
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(cases) + len(alone))
        try:
            for case in cases:
                bar.update(task, description=f"{case}")
                results.figures.append(measure(case, asked.peers, effort))
                bar.advance(task)
            # After the interleaved figures: these run in processes of their own or load the machine.
            for mode in alone:
                bar.update(task, description=mode)
                setattr(results, mode, ALONE[mode]())
                bar.advance(task)
        # Twenty minutes of figures are not thrown away.
        except KeyboardInterrupt:
            console.print("Stopped: what follows is what was measured until then.", style="yellow")
    return results


def document(facts: dict[str, object], results: Results) -> dict[str, object]:
    """The JSON."""
    return {
        "machine": facts,
        "summary": [{**row._asdict(), "met": row.met} for row in rows(results)],
        "figures": [figure.to_dict() for figure in results.figures],
        "memory": results.memory,
        "subnormal": {name: timing._asdict() for name, timing in results.subnormal.items()},
        "load": {name: timing._asdict() for name, timing in results.load.items()},
    }


def _commit() -> str:
    """Of this checkout; figures of a changed one say so."""
    words = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=here).stdout.strip()
    except FileNotFoundError:
        return ""


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The options; `--quick` is a set of other defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few shapes, few rounds, no torch.compile")
    parser.add_argument("--cells", type=_some_of(CELLS), help=", ".join(CELLS))
    parser.add_argument("--shapes", type=lambda text: [parse(s) for s in text.split(",")], help="B/T/I/H,…; ragged")
    parser.add_argument("--modes", type=_some_of([*TIMED, *ALONE]), help=", ".join([*TIMED, *ALONE]))
    parser.add_argument("--precisions", type=_some_of(["fp32", "bf16"]), help="fp32, bf16")
    parser.add_argument("--peers", type=_some_of(PEERS), help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, help="samples of each peer per figure (7)")
    parser.add_argument("--seconds", type=float, help="no round after the third begins later (1.5)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them: .svg, .png, .pdf")
    asked = parser.parse_args(words)
    for name, (usual, quick) in DEFAULTS.items():
        if getattr(asked, name) is None:
            setattr(asked, name, quick if asked.quick else usual)
    return asked


DEFAULTS = {
    "shapes": (None, QUICK),
    "modes": ([*TIMED, *ALONE], [*TIMED]),
    "precisions": (["fp32", "bf16"], ["fp32"]),
    "peers": (None, [name for name in PEERS if name != "compile"]),
    "rounds": (7, 3),
    "seconds": (1.5, 0.5),
}


def _some_of(known: Sequence[str] | dict) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = text.split(",")
        if strangers := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{strangers[0]!r} is unknown; there are {', '.join(known)}")
        return names

    return parsed


if __name__ == "__main__":
    main()
