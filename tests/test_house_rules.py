"""Rules of the house that no linter knows: which way imports point, what a public name owes its reader."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import gateflow
from gateflow import cells
from gateflow import tasks as gateflow_tasks

SOURCE = Path(gateflow.__file__).parent
ORDER = [
    "errors",
    "cell_names",
    "files",
    "cells",
    "compiler",
    "backends",
    "recurrence",
    "layers",
    "remedies data export benchmarking decoding",
    "flow",
    "runs",
    "training",
    "tasks",
    "studies inspector integrations",
    "cli",
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
FILES = sorted(SOURCE.rglob("*.py"))


def module_name(path):
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path, for_types=True):
    """Absolute names of the modules that a file imports, wherever in the file; those for the type checker if asked."""
    known, tree = {module_name(p) for p in FILES}, ast.parse(path.read_text(encoding="utf-8"))
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    left_out = [] if for_types else [inner for block in typing for inner in ast.walk(block)]
    for node in (n for n in ast.walk(tree) if n not in left_out):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def package(name):
    return name.split(".")[1] if name.count(".") else ""


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_one_way(path):
    here = package(module_name(path))
    for name in imports_of(path):
        if name.split(".")[0] != "gateflow" or here in ("", "__main__"):
            continue
        there = package(name)
        if there == "":  # the front page: only the last package may read it, for the version
            assert here == "cli", f"{path} imports the front page `gateflow`"
        elif there != here:
            assert RANK[there] < RANK[here], f"{path}: {here} may not import {there}"


def test_every_package_has_its_place():
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")} | {p.stem for p in SOURCE.glob("[!_]*.py")}
    assert packages <= set(RANK), f"give {packages - set(RANK)} a place in ORDER and in ARCHITECTURE.md"


def test_no_cycles():
    edges = {module_name(p): {n for n in imports_of(p) if n.startswith("gateflow")} for p in FILES}
    done, path = set(), []

    def visit(name):
        assert name not in path, f"import cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done or name not in edges:
            return
        path.append(name)
        for other in edges[name] - {name}:
            visit(other)
        done.add(path.pop())

    for name in edges:
        visit(name)


@pytest.mark.parametrize("path", [p for p in FILES if SOURCE / "backends" not in p.parents], ids=module_name)
def test_only_back_ends_know_machines(path):
    """Nobody else loads libraries, takes addresses, or runs a compiler; nor knows one back end from another."""
    names = {name for name in imports_of(path) if name.split(".")[0] in ("ctypes", "mmap", "cffi")}
    assert not names, f"{path} imports {names}"
    text = path.read_text(encoding="utf-8")
    assert not any(call in text for call in ("CDLL(", "-shared", "c++ ")), f"{path} builds or loads a library"
    if package(module_name(path)) in ("recurrence", "layers", "remedies", "flow", "runs", "training", "tasks"):
        own = {name for name in imports_of(path) if name.startswith("gateflow.backends.")}
        assert not own, f"{path} knows one back end from another: {own}"


def public_modules():
    names = (m.name for m in pkgutil.walk_packages([str(SOURCE)], "gateflow."))
    return [importlib.import_module(n) for n in names if "._" not in n and not n.startswith("gateflow.cli")]


def public_things():
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module.__name__:
                yield pytest.param(thing, id=f"{module.__name__}.{name}")


LIBRARY = (gateflow.cells, gateflow.recurrence, gateflow.layers, gateflow.remedies.init, gateflow.remedies.clip)
LIBRARY += (gateflow.remedies.penalties, gateflow.flow)


def front_page():
    """What the packages of the library offer by name."""
    for module in LIBRARY:
        for name in module.__all__:
            yield pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")


# What only makes sense to those who build a path or a layer; their docstrings give shapes, tests their examples.
INSIDE = {"run_layer", "prepare", "choose", "path_is_forced", "Choice", "Explanation", "reverse", "unroll"}
INSIDE |= {"Stack", "Gate"}
# Results: what makes one has the example.
INSIDE |= {"Activation", "Gates", "LayerGates", "LayerLyapunov", "LayerReach", "LayerTerms", "Lyapunov", "Reach"}
INSIDE |= {"Report", "Terms", "WhatIf", "WhatIfRow"}


@pytest.mark.parametrize("thing", list(front_page()))
def test_public_names_have_an_example_that_runs(thing):
    if thing.__name__ not in INSIDE:
        assert ">>>" in (inspect.getdoc(thing) or ""), f"{thing.__name__} has no example (doctests run in `make check`)"


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_has_an_equation_a_citation_and_an_example(name):
    cell = cells.get(name)
    assert "=" in cell.equation
    assert any(year in cell.citation for year in map(str, range(1985, 2030)))
    assert ">>>" in cell.__doc__
    for state in cell.states:
        assert f"{state}_t" in cell.equation, f"the equation of {name} does not say what {state} becomes"


# Any error of a user's own code is told with the user's line, and any error at all is told without a traceback.
CATCH_ALL = {
    "gateflow.cells.answers",
    "gateflow.cells.verify",
    "gateflow.compiler.recording",
    "gateflow.compiler.verification",
}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_broad_except(path):
    broad = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert not broad or module_name(path) in CATCH_ALL, f"{path}: broad except in lines {broad}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_file_is_called_by_what_it_is_not(path):
    assert path.stem not in ("utils", "helpers", "common", "misc")


def test_no_group_of_an_expression_gives_nothing_back():
    """`(…)*+` keeps what its last, unfinished round has read before Python 3.11.5 (python/cpython#106052)."""
    group = re.compile(r"\)(?:[*+?]|\{+\d*,?\d*\}+)\+|\(\?>")
    assert group.search(r"(?:ab)*+")
    assert group.search(r"(?:ab){{2,8}}+")
    found = [path for path in FILES if group.search(path.read_text(encoding="utf-8").replace("C++", ""))]
    assert not found


def test_no_pickle_is_read():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not any(call in text for call in ("torch.load(", "pickle.load", "torch.save(", "allow_pickle=True")), (
            path
        )


# What is private already: the texts of a set-up lie in a folder of random name that nobody else can enter.
# A switch of Linux's in /proc is no file at all, and nothing could take its place.
WRITERS = {"gateflow.files", "gateflow.data.held_out", "gateflow.data.text", "gateflow.studies.peak_memory"}
WRITING = {"write_text", "write_bytes", "save_file", "savez", "tofile", "mkstemp", "NamedTemporaryFile"}


def writing(path):
    """Lines that open a file for writing, or call what does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            opens = name == "open" and any(set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes)
            if opens or name in WRITING or ast.unparse(node.func) == "np.save":
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_there_is_one_writer(path):
    lines = list(writing(path))
    assert not lines or module_name(path) in WRITERS, f"{path}:{lines}: write by `gateflow.files`"


def test_writers_are_recognised():
    assert all(list(writing(SOURCE / f"{name.partition('.')[2].replace('.', '/')}.py")) for name in WRITERS)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_the_command_line_prints(path):
    """Below `cli` a result is data: whoever wants it on a page, in a notebook or as JSON takes the same."""
    # The last is written beside an exported model, to be run there; nothing here imports it.
    if package(module_name(path)) in ("cli", "__main__", "") or path.name == "standalone.py":
        return
    assert not any(name.split(".")[0] == "typer" for name in imports_of(path)), f"{path} imports typer"
    calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    printing = {"print", "sys.stdout.write", "sys.stderr.write"}
    assert not [n.lineno for n in calls if ast.unparse(n.func) in printing], f"{path} prints"


@pytest.mark.parametrize("path", [p for p in FILES if package(module_name(p)) in ("runs", "training", "cli")])
def test_what_is_generic_knows_no_task(path):
    """The folder, the loop and the command line find a task by its name in a run's config.toml, and by no other way."""
    tasks = [place.partition(":")[0] for place in gateflow_tasks.TASKS.values()]
    for name in imports_of(path):
        assert not name.startswith(tuple(tasks)), f"{path} imports a task: {name}"
    texts = [n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)]
    found = set(texts) & set(gateflow_tasks.TASKS) if module_name(path) != "gateflow.runs.config" else set()
    assert not found, f"{path} names a task: {found}"


@pytest.mark.parametrize("path", sorted(Path("benchmarks").rglob("*.py")), ids=str)
def test_benchmarks_need_no_command_line(path):
    assert not any(name.startswith("gateflow.cli") for name in imports_of(path)), f"{path} imports the command line"
