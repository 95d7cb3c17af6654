"""``gateflow explain``: what the compiler makes of a cell, from its traced step to C++."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateflow.cli.output import AsJson, print_json, write
from gateflow.cli.settings import equations_of
from gateflow.cli.visible import VisibleConsole

if TYPE_CHECKING:
    from gateflow.cells import Cell
    from gateflow.compiler import CompiledCell
    from gateflow.compiler.node import Weight
    from gateflow.compiler.plan import Pass, Plan

# They differ, so that rows of the input and of the state are told apart; no stage depends on more than that.
INPUT_SIZE, HIDDEN_SIZE = 3, 4


class Stage(StrEnum):
    """What the compiler makes, in order."""

    graph, backward, plan, cpp = "graph", "backward", "plan", "cpp"


LANGUAGES = {Stage.graph: "python", Stage.backward: "python", Stage.plan: "text", Stage.cpp: "cpp"}
PLANS = {
    "infer": "forward; keeps the states alone",
    "train": "forward; keeps what the backward loop needs",
    "backward": "from the last step to the first",
}


def explain(
    cell: Annotated[
        str | None, typer.Argument(help="A name, or package.module:Class for one of your own.", show_default=False)
    ] = None,
    stage: Annotated[Stage | None, typer.Option(help="The text of one stage.", show_default=False)] = None,
    operations: Annotated[bool, typer.Option("--operations", help="What a step may call, of any cell.")] = False,
    json: AsJson = False,
) -> None:
    """What the compiler makes of a cell: passes over each step, products taken out of the loop, what training keeps.

    Example: `gateflow explain full_gru --stage plan`
    """
    if operations:
        _print_operations(json=json)
        return
    if cell is None:
        raise typer.BadParameter("name a cell, such as full_gru, or ask for --operations", param_hint="CELL")
    cell = equations_of(cell)

    from gateflow.cells import get  # after a wrong name has been told: it imports torch

    equations = get(cell)(INPUT_SIZE, HIDDEN_SIZE)
    compiled = _compiled(equations)
    if stage is None:
        facts = {"cell": cell, **_facts(equations, compiled)}
        print_json(facts) if json else write(_story(facts))
    elif json:
        print_json({"cell": cell, "stage": stage, "text": _text(stage, compiled)})
    else:
        _print_text(_text(stage, compiled), LANGUAGES[stage])


def _print_operations(*, json: bool) -> None:
    from gateflow.compiler import SUPPORTED

    if json:
        print_json(SUPPORTED)
        return
    for kind, names in SUPPORTED.items():
        write(f"{kind}\n" + textwrap.fill("  ".join(names), 100, initial_indent="  ", subsequent_indent="  ") + "\n")


def _compiled(equations: Cell) -> CompiledCell:
    from gateflow.compiler import compile_cell
    from gateflow.errors import UnsupportedStepError

    try:
        return compile_cell(equations)
    except UnsupportedStepError as refusal:
        raise UnsupportedStepError(f"{refusal}.\nIt runs all the same, on the slower reference loop.") from refusal


def _text(stage: Stage, compiled: CompiledCell) -> str:
    from gateflow.backends import BACKENDS
    from gateflow.compiler import Step

    programs = compiled.programs(BACKENDS["cpu"].costs)
    texts: dict[Stage, Callable[[], str]] = {
        Stage.graph: lambda: str(compiled.graph),
        Stage.backward: lambda: str(compiled.storage.backward_graph),
        Stage.plan: lambda: "\n\n".join(f"# {n}: {what}\n{getattr(programs, n)}" for n, what in PLANS.items()),
        Stage.cpp: lambda: BACKENDS["cpu"].source(Step(compiled)).rstrip(),
    }
    return texts[stage]()


def _print_text(text: str, language: str) -> None:
    """In colour on a terminal, and as it is into a file or pipe."""
    console = VisibleConsole()
    if console.is_terminal:
        from rich.syntax import Syntax

        console.print(Syntax(text, language, theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        write(text)


def _facts(equations: Cell, compiled: CompiledCell) -> dict[str, Any]:
    import inspect

    from gateflow.backends import BACKENDS
    from gateflow.compiler.graph import names_of
    from gateflow.compiler.node import in_order
    from gateflow.recurrence import choose

    storage, programs = compiled.storage, compiled.programs(BACKENDS["cpu"].costs)
    choice, names = choose(equations), names_of(in_order(storage.backward_graph.forward.new_states))
    return {
        "equation": inspect.cleandoc(equations.equation) or inspect.cleandoc("\n" + inspect.getsource(equations.step)),
        "path": choice.path,
        "reason": choice.reason,
        "hoisted": [_part(weight, equations) for node in storage.hoisted for weight in node.weights],
        "kept": [names[node] for node in storage.saved],
        "forward": _passes(programs.train, equations),
        "backward": _passes(programs.backward, equations),
        "after": list(dict.fromkeys(delta.weight.name for delta in storage.backward_graph.deltas)),
    }


def _passes(plan: Plan, equations: Cell) -> list[str]:
    return [_pass(each, equations) for each in plan.passes if not each.ahead]


def _pass(each: Pass, equations: Cell) -> str:
    """Its products, and how much is computed unit by unit."""
    parts = [
        f"{', '.join(_part(weight, equations) for block in term.weights for weight in block)} @ {term.operand}"
        for term in each.terms
    ]
    parts += [_counted(each.body, "operation")] * bool(each.body) + [_counted(each.totals, "total")] * bool(each.totals)
    parts += [_counted(each.stores, "row") + " stored"] * (not parts and bool(each.stores))
    return "; ".join([*parts, *(f"sums the gradient of {name}" for name, _ in each.reductions)])


def _part(weight: Weight, equations: Cell) -> str:
    """The declared part of a cell that a block of weights belongs to."""
    parts = {"weight_ih": (*equations.gates, *equations.inputs), "weight_hh": equations.gates}
    name = parts[weight.name][weight.block] if weight.name in parts else weight.name.removeprefix("weight_")
    return f"{name}ᵀ" if weight.transposed else name


def _story(facts: dict[str, Any]) -> str:
    hoisted, kept, after = (", ".join(facts[name]) for name in ("hoisted", "kept", "after"))
    told = [
        ("path", f"{facts['path']}: {facts['reason']}"),
        ("before the loop", f"{hoisted} @ x, for many steps at once" if hoisted else "nothing"),
        ("each step", f"{_counted(facts['forward'], 'pass', 'es')} over the units"),
        *_numbered(facts["forward"]),
        ("kept", f"{kept}, besides the states" if kept else "the states"),
        *([("", 'with memory="lean" the states alone; the rest is computed again')] if kept else []),
        ("each step backward", _counted(facts["backward"], "pass", "es")),
        *_numbered(facts["backward"]),
        ("after the loop", f"the gradients of {after}" if after else "nothing"),
    ]
    lines = [f"{what:<20}{text}" for what, text in told]
    stages = f"The text of a stage: gateflow explain {facts['cell']} --stage {'|'.join(Stage)}"
    return "\n".join([facts["equation"], "", *lines, "", stages])


def _numbered(passes: list[str]) -> list[tuple[str, str]]:
    return [(f"  pass {k}", text) for k, text in enumerate(passes)]


def _counted(things: Sequence[object], one: str, ending: str = "s") -> str:
    return f"{len(things)} {one}{ending * (len(things) != 1)}"
