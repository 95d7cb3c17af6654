"""From a report to one HTML file: style, script, plotly and data inside, nothing to be loaded from anywhere."""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateflow.files import write as write_file
from gateflow.flow.report.data import ReportData
from gateflow.flow.report.page import content
from gateflow.flow.report.plotly import plotly_bundle
from gateflow.flow.table import Share

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
        ...     write(report, f"{folder}/flow.html").stat().st_size > 1.5e6  # plotly is most of it
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
    environment.filters["figure"] = _figure
    found = content(report)
    figures = [figure.to_dict() for section in found.sections for figure in section.figures]
    inside: dict[str, Any] = {
        "download": _download(report),
        "style": _inside("page.css"),
        "script": _inside("page.js"),
        "plotly": Markup(plotly_bundle()),
    }
    return environment.get_template("page.html").render(content=found, figures=_data(figures), **inside)


def _inside(name: str) -> Markup:
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _figure(value: float | str) -> str:
    """A number of an evidence; shares know how they are written."""
    return str(value) if isinstance(value, str | Share) else f"{value:.3g}"


def _download(report: ReportData) -> str:
    """All numbers as a link: packed, for otherwise they would be most of the page."""
    text = json.dumps(_short(report.to_dict()), ensure_ascii=False, allow_nan=False)
    # Without a date in it, so that the same report is the same file.
    packed = gzip.compress(text.encode("utf-8", errors="replace"), mtime=0)
    return f"data:application/gzip;base64,{b64encode(packed).decode()}"


def _short(value: Any) -> Any:
    """Six digits of each number: more than any of them means."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _short(part) for name, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list | tuple) else value


def _data(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, whatever words are in it."""
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"))
