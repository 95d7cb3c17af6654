"""The documentation: pages in Markdown, the reference from docstrings. `make docs` builds it; a warning fails."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, get_type_hints

import gateflow
from gateflow.cells import Cell

project, author = "gateflow", "The gateflow authors"
copyright = "The gateflow authors"  # the name that Sphinx reads
release = version = gateflow.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# `make docs` runs without a network, as CI does, so no inventory of torch is fetched: its names are plain text here.
nitpicky = False

html_theme = "furo"
html_title = "gateflow"
html_static_path = ["_static"]
html_css_files = ["gateflow.css"]
html_theme_options = {
    "source_repository": "https://github.com/gateflow/gateflow/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_show_sphinx = False
exclude_patterns = ["_build"]
# Prompts and output stay behind when a block is copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
# A layer has twenty options: one a line beats a line of a thousand characters.
maximum_signature_line_length = 88
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True  # an attribute that a dataclass declares would be described twice otherwise
napoleon_use_param = False  # "input_size, hidden_size: sizes" stays one entry
napoleon_use_rtype = False
napoleon_custom_sections = [("Shape", "notes_style")]


def _public_names() -> dict[str, str]:
    """The name by which the reference documents a thing, for each way in which a docstring may call it."""
    found: dict[str, dict[int, str]] = {}
    for part in ("", ".layers", ".flow", ".recurrence", ".cells", ".export"):
        module = importlib.import_module(package := f"gateflow{part}")
        for name in module.__all__:
            thing = getattr(module, name)
            for called in (name, f"{package.rpartition('.')[2]}.{name}", f"{package}.{name}"):
                if not inspect.ismodule(thing):
                    found.setdefault(called, {}).setdefault(id(thing), f"{package}.{name}")
    return {called: next(iter(things.values())) for called, things in found.items() if len(things) == 1}


_NAMES = _public_names()
_LITERAL = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_\w])")
_ONE_LINE_SECTION = re.compile(r"^(Source|Cost|Shape): (?=\S)", re.MULTILINE)


def _to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are read in editors first, so they hold `code` as Markdown does; reST wants two backticks."""

    def reference(match: re.Match[str]) -> str:
        target = _NAMES.get(match[1].removesuffix("()"))
        # A bare `gates` is the instrument in docstrings of flow, and a cell's declaration elsewhere.
        if target and (not match[1].islower() or "." in match[1] or name.startswith(target.rpartition(".")[0] + ".")):
            return f":py:obj:`{match[1]} <{target}>`"
        return f"``{match[1]}``"

    text = _ONE_LINE_SECTION.sub(r"**\1:** ", "\n".join(lines))
    code = (">>>", "...")
    lines[:] = [line if line.lstrip().startswith(code) else _LITERAL.sub(reference, line) for line in text.split("\n")]
    if isinstance(obj, type) and issubclass(obj, Cell) and obj is not Cell:
        lines += ["", "::", "", *(f"    {line}" for line in obj.equation.split("\n")), "", obj.citation, ""]


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, *found: str | None) -> tuple[str, None] | None:
    """A cell's constructor, which its metaclass hides; and the options of `Recurrent`, which are a dataclass."""
    if not (isinstance(obj, type) and (issubclass(obj, Cell) or obj is gateflow.Recurrent)):
        return None
    _, *given = inspect.signature(obj.__init__).parameters.values()
    if obj is gateflow.Recurrent:
        options = inspect.signature(get_type_hints(obj)["options"]).parameters.values()
        given = [p for p in given if p.kind is not p.VAR_KEYWORD] + list(options)
    return str(inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in given])), None


def _without_last_blank_line(app: Any, document: str, source: list[str]) -> None:
    """Doctest wants a blank line after the last output of a block; a reader does not."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app: Any) -> None:
    """Called by Sphinx; our reading of docstrings comes before napoleon's, which looks for sections."""
    app.connect("autodoc-process-docstring", _to_rst, priority=400)
    app.connect("autodoc-process-signature", _signature)
    app.connect("source-read", _without_last_blank_line)
