"""A contingency table as a picture: the share of each row that has each column."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateflow.flow.contingency import ContingencyTable
from gateflow.flow.report.figure import Figure, axis

__all__ = ["contingency"]

# Names along a side: more than that no screen has room for. Up to a few, cells have room for their share.
_MOST, _FEW = 60, 12
# Letters of a name beside the picture; the pointer shows all of it.
_LETTERS = 18
_TICKS = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)


def contingency(table: ContingencyTable) -> Figure:
    """Cells are as strong as the root of their share, so that a rare mistake is seen beside what is mostly right."""
    often = _commonest(table)
    rows, columns = ([i for i, name in enumerate(names) if name in often] for names in (table.rows, table.columns))
    # Of the whole row, also where not all of its columns are drawn.
    totals = [sum(table.counts[i]) for i in rows]
    shares = [[table.counts[i][j] / max(total, 1) for j in columns] for i, total in zip(rows, totals, strict=True)]
    words = [
        [_words(table, i, j, total, part) for j, part in zip(columns, parts, strict=True)]
        for i, total, parts in zip(rows, totals, shares, strict=True)
    ]
    # A row that never occurred has no shares.
    roots = [[part**0.5 if total else None for part in parts] for total, parts in zip(totals, shares, strict=True)]
    trace = {"type": "heatmap", "z": [[z and round(z, 3) for z in row] for row in roots], "customdata": words}
    trace |= {"hovertemplate": "%{customdata}<extra></extra>", "hoverongaps": False, "xgap": 1, "ygap": 1, **_colours()}
    if max(len(rows), len(columns)) <= _FEW:
        trace |= {"text": [[_percent(part) if part else "" for part in parts] for parts in shares]}
        trace |= {"texttemplate": "%{text}"}
    across, down = _names(table.sides[1], table.columns, columns), _names(table.sides[0], table.rows, rows)
    layout = {"xaxis": across, "yaxis": {**down, "autorange": "reversed"}}
    every = len({*table.rows, *table.columns})
    note = f"The {_MOST} commonest of {every:,} names; shares are of whole rows." if every > _MOST else ""
    return Figure(table.name, [trace], layout, note, shape="square")


def _commonest(table: ContingencyTable) -> set[str]:
    """Those names that occur most, as rows and as columns together: so a diagonal stays one."""
    found = Counter(dict.fromkeys((*table.rows, *table.columns), 0))
    for name, counts in zip(table.rows, table.counts, strict=True):
        found[name] += sum(counts)
        found.update(dict(zip(table.columns, counts, strict=True)))
    return {name for name, _ in found.most_common(_MOST)}


def _names(title: str, names: Sequence[str], chosen: Sequence[int]) -> dict[str, Any]:
    """An axis with names; by number, since two names may be alike when they are cut."""
    told = [names[k] if len(names[k]) <= _LETTERS else f"{names[k][: _LETTERS - 1]}…" for k in chosen]
    ticks = {"tickvals": list(range(len(chosen))), "ticktext": [html.escape(name, quote=False) for name in told]}
    return axis(title, showgrid=False, constrain="domain", **ticks)


def _words(table: ContingencyTable, i: int, j: int, total: int, part: float) -> str:
    """What is said under the pointer."""
    row, column = (html.escape(name, quote=False) for name in (table.rows[i], table.columns[j]))
    sides = f"{table.sides[0]}: {row}<br>{table.sides[1]}: {column}"
    return f"{sides}<br>{table.counts[i][j]:,} of {total:,} ({_percent(part)})"


def _colours() -> dict[str, Any]:
    """From the page's own ground, so that nothing is seen where nothing is."""
    bar = {"thickness": 12, "outlinewidth": 0, "tickvals": [x**0.5 for x in _TICKS]}
    bar |= {"ticktext": [f"{x:.0%}" for x in _TICKS], "title": {"text": "share of the row", "side": "right"}}
    return {"zmin": 0, "zmax": 1, "colorscale": [[0, "var(--code)"], [1, "var(--line-0)"]], "colorbar": bar}


def _percent(part: float) -> str:
    return "100%" if part == 1 else f"{part:.1%}"
