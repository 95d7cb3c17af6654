"""From a report to one HTML file: style, script, plotly and data inside, nothing to be loaded from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from gateflow.files import write as write_file
from gateflow.flow.report.data import ReportData
from gateflow.flow.report.page import content
from gateflow.flow.report.summary import share

__all__ = ["page", "write"]

_HERE = Path(__file__).parent


def write(report: ReportData, path: str | Path) -> Path:
    """Writes the page of `page` to `path`, whole or not at all, over what was there.

    Raises:
        WriteError: the file system refused.

    Example:
        >>> import tempfile, torch
        >>> from gateflow.flow import diagnose
        >>> report = diagnose(torch.nn.GRU(3, 8), torch.randn(20, 2, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(report, f"{folder}/flow.html").stat().st_size > 4e6  # plotly is most of it
        True
    """
    # Tokens may be halves of surrogate pairs, which UTF-8 has no bytes for.
    write_file(Path(path), page(report).encode("utf-8", errors="replace"))
    return Path(path)


def page(report: ReportData) -> str:
    """The report as HTML: findings, reach, decay, exponents, gates, clipping, what if, and a glossary."""
    # Escaped by default: names of layers, tokens and words of a finding come from a user's model or text.
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["share"] = share
    found = content(report)
    figures = [figure.to_dict() for section in found.sections for figure in section.figures]
    inside = {"style": _inside("page.css"), "script": _inside("page.js"), "plotly": Markup(get_plotlyjs())}
    return environment.get_template("page.html").render(content=found, figures=_data(figures), **inside)


def _inside(name: str) -> Markup:
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _data(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, whatever words are in it."""
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))
