"""Plotly's own bundle for plots with two straight axes, which lies here as it was published, and its licence.

It is a third of the whole of plotly, without maps, 3d and WebGL, and the same for the report and for the inspector.
Pinned by its checksum (`tests/flow/test_report.py`): a newer one is put here by hand, looked at, and pinned again.

Source: https://www.npmjs.com/package/plotly.js-cartesian-dist-min, 4.1.1, MIT licence.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["plotly_bundle"]


@cache
def plotly_bundle() -> str:
    """The script that defines `Plotly`: heat maps, lines, bars, histograms and boxes.

    Example:
        >>> "plotly.js (cartesian - minified) v4.1.1" in plotly_bundle()[:200]
        True
    """
    return Path(__file__).with_name("plotly-cartesian.min.js").read_text(encoding="utf-8")
