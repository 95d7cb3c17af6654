"""Cells with equations drawn at random: valid Python text, smooth almost everywhere, all that the compiler knows."""

from __future__ import annotations

import linecache
import random
from collections import Counter

import torch

from gateflow.cells import Cell
from gateflow.compiler.compositions import COMPOSITIONS
from gateflow.compiler.operations import OPERATIONS
from gateflow.compiler.rows import EXAMPLES as OF_ROWS

FORMS = {name: row.examples for name, row in {**OPERATIONS, **COMPOSITIONS}.items()}
OPERATION_OF = {form: name for name, forms in {**FORMS, **OF_ROWS}.items() for form in forms}
EXAMPLES = [form for forms in FORMS.values() for form in forms]
"""Every operation that the compiler knows, as its row in a table says that a step writes it."""
UNARY = [form for form in EXAMPLES if "{1}" not in form]
BINARY = [form for form in EXAMPLES if "{1}" in form]
ROWS = [form for forms in OF_ROWS.values() for form in forms]


class _Text:
    """The lines of a step in the making. Every value is a row `[B, H]`; `unused` are those nothing depends on yet."""

    def __init__(self, chance: random.Random, states: tuple[str, ...], values: list[str], one_unit: bool):
        # One unit makes one piece, where `chunk` was asked for two.
        self.of_rows = [form for form in ROWS if not (one_unit and "chunk" in form)]
        self.chance, self.values, self.unused, self.lines = chance, [*states, *values], list[str](), list[str]()
        self.drawn = list[str]()

    def pick(self) -> str:
        """A value, rather one that has no use yet."""
        if self.unused and self.chance.random() < 0.6:
            return self.unused.pop(self.chance.randrange(len(self.unused)))
        return self.chance.choice(self.values)

    def line(self, form: str) -> None:
        """One more value: a form with values picked for its places."""
        self.drawn.append(form)
        places = [self.pick() for k in range(2) if f"{{{k}}}" in form]
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {form.format(*places)}")
        self.values.append(name)
        self.unused.append(name)

    def rest(self, share: int) -> str:
        """A sum of values without use."""
        taken, self.unused = self.unused[:share], self.unused[share:]
        return " + ".join(taken or [self.pick()])


def text_of(seed: int, *, direct: bool, one_unit: bool = False, drawn: Counter[str] | None = None) -> str:
    """The class statement of a random cell; `direct` lets it use the input as a row, which needs `I = H`.

    `drawn` counts the operations that it uses; `one_unit` says that `H = 1`.
    """
    chance = random.Random(seed)
    states = ("h", "c", "m")[: chance.choice([1, 1, 2, 2, 3])]
    names = {
        "gates": tuple(f"g{k}" for k in range(chance.randint(1, 4))),
        "inputs": tuple(f"u{k}" for k in range(chance.choice([0, 0, 1]))),
        "matrices": tuple(f"w{k}" for k in range(chance.choice([0, 0, 1]))),
        "diagonals": tuple(f"p{k}" for k in range(chance.choice([0, 1, 2]))),
        "norms": tuple(f"n{k}" for k in range(chance.choice([0, 0, 0, 1, 2]))),
    }
    text = _Text(chance, states, ["x"] if direct else [], one_unit)
    for leaf in _shuffled(chance, [_leaf(chance, kind, name) for kind in names for name in names[kind]]):
        for form in leaf:
            text.line(form)
        for _ in range(chance.randint(0, 2)):
            _operation(text, chance)
    if drawn is not None:
        drawn.update(OPERATION_OF[form] for form in text.drawn if form in OPERATION_OF)
    share = len(text.unused) // len(states) + 1
    new = [_new_state(chance, state, text.rest(share)) for state in states]
    declared = [f"    {kind} = {value!r}" for kind, value in {"states": states, **names}.items() if value]
    body = [f"        {line}" for line in text.lines]
    returned = f"        return {', '.join(new)}"
    head = f"class Random{seed}(Cell):"
    return "\n".join([head, *declared, f"    def step(self, x, {', '.join(states)}):", *body, returned, ""])


def _leaf(chance: random.Random, kind: str, name: str) -> list[str]:
    """The lines by which a part of the cell comes in."""
    halves = [f"self.{name}.input(x) * 0.8", f"self.{name}.recurrent({{0}}) - 0.1"]
    forms = {
        "gates": [[f"self.{name}({{0}}, x)"]] * 3 + [halves, [f"self.{name}({{0}}, x) * self.{name}({{1}}, x)"]],
        "inputs": [[f"self.{name}(x)"]],
        "matrices": [[f"self.{name}({{0}})"]],
        "diagonals": [[f"self.{name} * {{0}}"], [f"{{0}} - self.{name}"]],
        "norms": [[f"self.{name}({{0}})"]],
    }
    return chance.choice(forms[kind])


def _operation(text: _Text, chance: random.Random) -> None:
    text.line(chance.choice(chance.choices([text.of_rows, UNARY, BINARY], [2, 4, 5])[0]))


def _new_state(chance: random.Random, state: str, rest: str) -> str:
    """Bounded, so that no run over time overflows."""
    forms = ["torch.tanh({rest})", "torch.sigmoid({rest}) - 0.5", "0.6 * {state} + 0.4 * torch.tanh({rest})"]
    return chance.choice(forms).format(state=state, rest=rest)


def _shuffled(chance: random.Random, items: list[list[str]]) -> list[list[str]]:
    return chance.sample(items, len(items))


def cell_class(text: str, name: str) -> type[Cell]:
    """The class that a text defines, its lines known to tracebacks."""
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope = {"Cell": Cell, "torch": torch, "F": torch.nn.functional, "__name__": __name__}
    exec(compile(text, file, "exec"), scope)
    return scope[name]
