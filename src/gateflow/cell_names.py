"""The names of the cells that come along, free of torch: a wrong one is told before seconds of imports."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gateflow.errors import UnknownCellError

__all__ = ["CELL_NAMES", "refuse_unknown", "unknown"]

# In the order in which `gateflow.cells` enters them, which a test compares.
CELL_NAMES = tuple(
    """elman elman_relu indrnn simplified_gru full_gru gru minimal_gated_unit layernorm_gru mut1 li_gru rhn cfc gru_d
    lstm projected_lstm peephole_lstm cifg_lstm layernorm_lstm multiplicative_lstm janet star min_gru nig nfg nog niaf
    noaf cifg np fgr slstm""".split()
)


def unknown(name: str, known: Iterable[str]) -> UnknownCellError:
    """What is said of a name that no cell has, with the closest ones.

    Example:
        >>> str(unknown("gru_full", CELL_NAMES)).partition(";")[0]
        "no cell is called 'gru_full'"
    """
    # 0.4 is low, so that words in another order are found: `gru_full` is answered with `full_gru`.
    close = difflib.get_close_matches(name, (known := list(known)), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UnknownCellError(f"no cell is called {name!r}; {hint}`gateflow cells` lists them: {', '.join(known)}")


def refuse_unknown(name: str) -> None:
    """Refuse a name that is typed and none of ours; with a colon it is the place of somebody's own cell.

    Raises:
        UnknownCellError: there is no such cell.
    """
    if ":" not in name and name not in CELL_NAMES:
        raise unknown(name, CELL_NAMES)
