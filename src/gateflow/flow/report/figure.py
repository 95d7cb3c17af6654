"""A figure of the report: what plotly draws, and the words that go with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["Figure", "axis", "colour", "line_across", "line_up", "rounded"]

# As many as the page's style has, `--line-0` to `--line-5`, each told from the next one in light and in dark.
_COLOURS = 6


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        title: what is to be seen.
        traces, layout: plotly's. A colour may be the name of a variable of the page's style, such as `"var(--ink)"`;
            the page fills in what stands for it in light and in dark.
        note: what holds for this plot only.
        shape: `"wide"`, or `"square"` for matrices.
        labels: names of the time steps, for what is shown under the pointer.
        labelled: axes that have these names instead of numbers.
        choices: names of the first traces, if only one of them is to be seen at a time.
    """

    title: str
    traces: Sequence[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    shape: str = "wide"
    labels: Sequence[str] = ()
    labelled: Sequence[str] = ()
    choices: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """For the page's script."""
        labels = {"labels": list(self.labels), "labelled": list(self.labelled)}
        return {"data": list(self.traces), "layout": self.layout, **labels}


def colour(k: int) -> str:
    """The k-th colour for lines."""
    return f"var(--line-{k % _COLOURS})"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    # Plotly finds room for titles and ticks by itself, on a
    # phone too; zero is no special place on most of these axes.
    return {"title": {"text": title, "standoff": 8}, "automargin": True, "zeroline": False, **more}


def line_across(y: float, words: str, below: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dashed horizontal line, and its label above or below it."""
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": _DASHED}
    return shape, {
        "xref": "paper",
        "x": 1,
        "y": y,
        "xanchor": "right",
        "yanchor": "top" if below else "bottom",
        **_label(words),
    }


def line_up(x: float, words: str, height: float = 1.0, left: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """A dashed vertical line, and its label at that share of the height, on its right or on its left."""
    shape = {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": _DASHED}
    return shape, {
        "yref": "paper",
        "x": x,
        "y": height,
        "xanchor": "right" if left else "left",
        "yanchor": "top",
        **_label(words),
    }


def rounded(values: Tensor | Sequence[float], digits: int = 4) -> list[Any]:
    """Numbers to so many significant digits, in lists as deep as the tensor; None where there is none."""
    # Four digits are more than a screen shows, and a fourth of the size of a float written out.
    numbers = values.tolist() if isinstance(values, Tensor) else list(values)
    return [rounded(n, digits) if isinstance(n, list) else _short(n, digits) for n in numbers]


_DASHED = {"color": "var(--mark)", "width": 1.5, "dash": "dash"}


def _label(words: str) -> dict[str, Any]:
    return {"text": words, "showarrow": False, "font": {"color": "var(--mark)", "size": 12}, "bgcolor": "var(--card)"}


def _short(number: float, digits: int) -> float | None:
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None
