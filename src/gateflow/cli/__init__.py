"""The command line: ``gateflow VERB``, one verb a file; torch is imported by the verbs that need it, not before."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    # Before torch is loaded: threads that wait for each other sleep. By default they spin, and as soon as another
    # process wants a core, each meeting costs a time slice.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from gateflow.cli.app import build
    from gateflow.cli.failures import Notes, TwoLines, dim_note, visible_traceback

    # A copy: --debug is taken out of it, and works after any command.
    words = list(sys.argv[1:] if arguments is None else arguments)
    # For --debug, whose traceback holds names of files and lines of texts.
    sys.excepthook = visible_traceback
    with warnings.catch_warnings(), Notes().shown(), TwoLines(debug="--debug" in words):
        warnings.showwarning = dim_note
        build()(args=[word for word in words if word != "--debug"], prog_name="gateflow")
