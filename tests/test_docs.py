"""The pages say what there is: every public name, links that lead somewhere, and a README for the package index."""

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from gateflow.compiler.compositions import COMPOSITIONS
from gateflow.compiler.operations import OPERATIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
REPOSITORY = "https://github.com/gateflow/gateflow"
PUBLIC = ["gateflow", "gateflow.cells", "gateflow.layers", "gateflow.remedies", "gateflow.flow", "gateflow.errors"]
PUBLIC += ["gateflow.export", "gateflow.remedies.init", "gateflow.remedies.clip", "gateflow.remedies.penalties"]


def reference():
    return "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_in_the_reference(package):
    module, text = importlib.import_module(package), reference()
    things = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    names = [name for name, thing in things.items() if not inspect.ismodule(thing)]
    shown = set(re.findall(r":: gateflow\.[\w.]*?(\w+)$", text, re.MULTILINE))
    assert not [name for name in names if name not in shown]
    assert names or f":: {package}" in text


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "README.ko.md", *PAGES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_to_files_of_the_repository_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(rf"{REPOSITORY}/blob/main/([^)\s#]+)", text):
        assert (ROOT / target).is_file(), f"{page}: {target}"
    for target in re.findall(r"\]\((?!https?:)([^)\s#]+)", text):
        assert (page.parent / target).is_file(), f"{page}: {target}"


def test_the_readme_is_short_and_right_on_the_package_index():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert not re.findall(r"\]\((?!https://)", text), "a relative link is dead on the package index"
    for picture in re.findall(r"raw\.githubusercontent\.com/gateflow/gateflow/main/([^)\s]+)", text):
        assert (ROOT / picture).stat().st_size < 200_000


def test_the_korean_readme_says_the_same():
    """Its examples run as doctests too; here: the same code but for comments, the same links, figures and headings."""

    def parts(name):
        text = (ROOT / name).read_text(encoding="utf-8")
        code = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
        code = [re.sub(r"\s+#.*", "", line) for block in code for line in block.splitlines()]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        links = set(re.findall(r"\]\((https://[^)]+)\)", prose)) - {
            f"{REPOSITORY}/blob/main/README{ending}" for ending in (".md", ".ko.md")
        }
        return code, links, len(re.findall(r"^#", prose, re.MULTILINE)), sorted(re.findall(r"\d+\.\d+", prose))

    assert parts("README.ko.md") == parts("README.md")


def test_one_address():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert all(url.startswith(REPOSITORY) for url in project["urls"].values())
    assert f"repository-code: {REPOSITORY}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_verb_is_on_its_page(capsys):
    from gateflow.cli import main

    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    verbs = set(re.findall(r"^[│\s]+([a-z]+)\s{2,}\S", capsys.readouterr().out, re.MULTILINE))
    shown = {verb.split()[0] for verb in re.findall(r"^\| `([a-z ]+)` \|", reference(), re.MULTILINE)}
    assert len(verbs) > 10
    assert verbs <= shown


def test_the_page_of_the_compiler_names_every_operation():
    page = (ROOT / "docs" / "concepts" / "compiler.md").read_text(encoding="utf-8")
    may_use = page[page.index("## What a step may use") :].split("```")[0]
    named = {op for op, row in OPERATIONS.items() if not row.infix and op != "neg"}
    named |= COMPOSITIONS.keys()
    assert named <= set(re.findall(r"\w+", may_use))
