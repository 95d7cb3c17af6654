"""Whose code a run may bring: a cell called ``package.module:Class`` is a module that opening the run would import.

A run that was sent must not run anything of its sender's. Its module is imported only if the user has named it, on the
command line of the training or in the variable ``GATEFLOW_TRUST``, a list of modules and packages, or says
``--trust-code``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from gateflow.errors import TrustError

__all__ = ["NOBODY", "VARIABLE", "Trust"]

VARIABLE = "GATEFLOW_TRUST"

# Identifiers joined by dots: nothing that could be read as a path or as a relative import.
_CODE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class Trust:
    """What the user has said of code in runs.

    Args:
        everything: all of it may run (``--trust-code``).
        typed: the cell that was named on the command line, if any.
    """

    everything: bool = False
    typed: str | None = None

    def check(self, cell: str, file: Path, run: Path | None = None) -> None:
        """Let a cell pass that is one of ours, or in a module that is trusted or in use already.

        Args:
            cell: a name, or ``package.module:Class``.
            file: the configuration that asks for it.
            run: the folder that was sent along, if any; what lies in it is trusted by `everything` alone.

        Raises:
            TrustError: it names other code; the message says which file would run.

        Example:
            >>> NOBODY.check("lstm", Path("config.toml"))
            >>> NOBODY.check("theirs.cells:Fast", Path("config.toml"))
            Traceback (most recent call last):
                ...
            gateflow.errors.TrustError: config.toml asks for the cell theirs.cells:Fast, which would import and run ...
        """
        if ":" not in cell or self.everything or cell == self.typed:
            return
        if not _CODE.fullmatch(cell):
            raise TrustError(
                f"{file} asks for the cell {cell!r:.80}: that is none; write it as a name, or as package.module:Class."
            )
        module = cell.partition(":")[0]
        brought = run is not None and _lies_in(module, run)
        # What is imported already runs nothing more when it is imported again.
        if not brought and (module in sys.modules or _listed(module)):
            return
        or_else = "" if brought else f", or name it in the environment: {VARIABLE}={module}"
        raise TrustError(
            f"{file} asks for the cell {cell}, which would import and run {_place(module)}. "
            f"If you trust that code, add --trust-code{or_else}."
        )


# Nothing was said: cells of our own, and what `GATEFLOW_TRUST` lists.
NOBODY = Trust()


def _listed(module: str) -> bool:
    """Whether the environment names this module, or a package that it is in."""
    # Our own modules are what the user runs anyway.
    names = ["gateflow", *(name.strip() for name in os.environ.get(VARIABLE, "").split(","))]
    # With the dot at the end, "my" does not let "mycelium" in.
    return any(name and f"{module}.".startswith(f"{name}.") for name in names)


def _lies_in(module: str, run: Path) -> bool:
    """Whether the run brings a module of this name itself: it is not the one that was meant."""
    return any(place.is_relative_to(run.resolve()) for place in _places(module))


def _place(module: str) -> str:
    return next((str(place) for place in _places(module) if place.is_file()), f"the module {module}")


def _places(module: str) -> Iterator[Path]:
    """Files and folders out of which a module would come. They are looked up part by part, and nothing is imported."""
    # As the import of a cell looks: the current folder comes last, so that a file there stands in for no module.
    path = [*sys.path, str(Path.cwd())]
    for part in module.split("."):
        # Not importlib.util.find_spec, which imports the packages that a module lies in.
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return
        if spec.has_location and spec.origin:
            yield Path(spec.origin).resolve()
        path = list(spec.submodule_search_locations or [])
        yield from (Path(folder).resolve() for folder in path)
