"""``gateflow cells``: what cells there are, and what one of them computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateflow.cli.output import AsJson, print_json, print_table, write
from gateflow.cli.settings import equations_of

if TYPE_CHECKING:
    from gateflow.cells import Cell

SIZE = 128


def cells(
    name: Annotated[str | None, typer.Argument(help="One cell; all of them if left out.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """The cells there are; with a name its equations, its source and the paper.

    Example: `gateflow cells full_gru`
    """
    name = equations_of(name) if name else None

    from gateflow.cells import get, names  # after a wrong name has been told: it imports torch

    found = [_facts(cell, get(cell)) for cell in ([name] if name else names())]
    if json:
        print_json(found[0] if name else found)
    elif name:
        _print_one(found[0])
    else:
        print_table(
            ("name", "states", "gates", "parameters", "paper"),
            [_row(fact) for fact in found],
            title=f"Parameters are those of one layer of {SIZE} units on {SIZE} inputs.",
        )


def _facts(name: str, cell: type[Cell]) -> dict[str, Any]:
    import inspect

    return {
        "name": name,
        "states": list(cell.states),
        "gates": list(cell.gates),
        # Of a built cell: shared or missing biases are counted as they are.
        "parameters": sum(weight.numel() for weight in cell(SIZE, SIZE).parameters()),
        "equation": inspect.cleandoc(cell.equation),
        "citation": inspect.cleandoc(cell.citation),
        "source": inspect.cleandoc("\n" + inspect.getsource(cell.step)),
    }


def _print_one(fact: dict[str, Any]) -> None:
    states, gates = ", ".join(fact["states"]), ", ".join(fact["gates"])
    write(f"{fact['name']}: states {states}; gates {gates}; {fact['parameters']:,} parameters at {SIZE} units\n")
    write(f"{fact['equation']}\n\n{fact['source']}\n\n{fact['citation']}")


def _row(fact: dict[str, Any]) -> list[str]:
    states, gates = ", ".join(fact["states"]), ", ".join(fact["gates"])
    return [fact["name"], states, gates, f"{fact['parameters']:,}", in_short(fact["citation"])]


def in_short(citation: str) -> str:
    """A citation as it stands in running text.

    Example:
        >>> in_short("Cho, van Merrienboer, Gulcehre (2014). Learning phrase representations. EMNLP, 1724-1734.")
        'Cho et al. 2014'
        >>> in_short("Gers, Schmidhuber (2000). Recurrent nets that time and count. IJCNN.")
        'Gers, Schmidhuber 2000'
    """
    authors, _, rest = citation.partition(" (")
    several = authors.count(",") > 1
    return f"{authors.split(',')[0]} et al. {rest[:4]}" if several else f"{authors} {rest[:4]}"
