"""The page: one module of JavaScript, which asks whoever it is given to ask: this server, a file, or a notebook.

The module is its parts, one after the other: a browser, a file and a notebook each get one text, and nothing is built.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gateflow.flow.report.plotly import plotly_bundle

__all__ = ["FILES", "html", "resource", "standalone"]

HERE = Path(__file__).parent
# Names under which the parts are served; no other file can be asked for.
FILES = {
    "inspector.js": "text/javascript",
    "start.js": "text/javascript",
    "inspector.css": "text/css",
    "plotly.js": "text/javascript",
}


# In the order in which they stand in the module: each knows those before it when it begins.
PARTS = "elements plot panel tokens prediction memory gates agreement intervene reach course page sources".split()


@cache
def resource(name: str) -> str:
    """A part of the page."""
    if name == "plotly.js":
        return plotly_bundle()
    if name == "inspector.js":
        return "\n".join((HERE / "inspector" / f"{part}.js").read_text(encoding="utf-8") for part in PARTS)
    return (HERE / name).read_text(encoding="utf-8")


def html() -> str:
    """The page that a server gives."""
    return resource("page.html")


def standalone(recording: str) -> str:
    """The page as one file.

    Args:
        recording: JSON of what it shows.
    """
    # `export` makes a module; in a file there is nothing to import it from.
    module = resource("inspector.js").replace("export default", "const inspector =", 1)
    parts = {
        "<!--style-->": f"<style>{resource('inspector.css')}</style>",
        # JSON that cannot end the script element it stands in, whatever words are in it.
        "<!--recording-->": recording.replace("<", "\\u003c"),
        "<!--plotly-->": resource("plotly.js"),
        "<!--module-->": module,
    }
    page = resource("file.html")
    for place, text in parts.items():
        before, after = page.split(place)
        page = before + text + after
    return page
