"""``gateflow doctor``: what this machine has, and what is amiss."""

from __future__ import annotations

import typer

from gateflow.cli.failures import FAILED
from gateflow.cli.output import AsJson, print_json, write


def doctor(json: AsJson = False) -> None:
    """What this machine has for training: versions, devices, the path on which each cell runs, compiler, kernels.

    Example: `gateflow doctor --json`

    Leaves with code 1 if something does not work at all.
    """
    from gateflow.cli.kernels import kernel_facts
    from gateflow.cli.machine import facts

    kernels = kernel_facts()  # first: why kernels are not kept is said once, to whoever builds the first one
    found = [*facts(), *kernels]
    if json:
        print_json([fact._asdict() for fact in found])
    else:
        width = max(len(fact.what) for fact in found)
        for fact in found:
            write(f"{fact.what:<{width}}  {fact.found}")
            if fact.remedy:
                label = "broken" if fact.broken else "note"
                write(f"{'':<{width}}  {label}: {fact.remedy}", colour="yellow")
    # The code tells a script what the colours tell a reader.
    if any(fact.broken for fact in found):
        raise typer.Exit(FAILED)
