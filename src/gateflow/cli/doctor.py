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
    from gateflow.cli.kernels import kernel_findings
    from gateflow.cli.machine import findings

    kernels = kernel_findings()  # first: why kernels are not kept is said once, to whoever builds the first one
    found = [*findings(), *kernels]
    if json:
        print_json([finding._asdict() for finding in found])
    else:
        width = max(len(finding.what) for finding in found)
        for finding in found:
            write(f"{finding.what:<{width}}  {finding.found}")
            if finding.remedy:
                label = "broken" if finding.broken else "note"
                write(f"{'':<{width}}  {label}: {finding.remedy}", colour="yellow")
    if any(finding.broken for finding in found):
        raise typer.Exit(FAILED)
