"""The large products outside of the loop: those of the input before it, the gradients of the weights after it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gateflow.backends.base import Sequences
from gateflow.backends.cuda.exchange import operands
from gateflow.backends.cuda.weights import matrix
from gateflow.compiler.plan import Pass, Plan, Row, Term

__all__ = ["hoisted", "multiply"]


def multiply(a: Tensor, b: Tensor, *, rounded: bool) -> Tensor:
    """`a @ b`, with sums of float32; the factors rounded to bfloat16 if asked."""
    if not rounded:
        return torch.mm(a, b)
    a, b = a.bfloat16(), b.bfloat16()
    return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda else torch.mm(a.float(), b.float())


def hoisted(plan: Plan, run: Sequences) -> Tensor | None:
    """What runs ahead of all steps, one line per sample and step; none if nothing does."""
    columns = sum(run.sizes[width] for width in plan.columns("hoisted"))
    if not columns:
        return None
    made = run.x.new_empty(run.x.shape[0], columns)
    for each in plan.passes:
        if each.ahead:
            _run_pass(each, run, made)
    return made


def _run_pass(p: Pass, run: Sequences, made: Tensor) -> None:
    rows, begun = dict(p.stores), set[int]()
    biases = {
        node: run.weights[row.tensor.removeprefix("weights.")][_columns(row, run.sizes)] for node, row in p.biases()
    }
    for term in p.terms:
        x = torch.cat([run.x[:, _columns(row, run.sizes)] for row in operands(term)], 1)
        for first, last in _together(p, term, run.sizes):
            nodes = p.products[term.first + first : term.first + last]
            gates = [
                torch.cat([matrix(block[k], run.weights, run.sizes) for block in term.weights], 1)
                for k in range(first, last)
            ]
            columns = slice(_columns(rows[nodes[0]], run.sizes).start, _columns(rows[nodes[-1]], run.sizes).stop)
            found = multiply(x, torch.cat(gates).T, rounded=run.rounded)
            if columns.start in begun:
                made[:, columns] += found
                continue
            begun.add(columns.start)
            if all(node in biases for node in nodes):
                torch.add(found, torch.cat([biases[node] for node in nodes]), out=made[:, columns])
            else:
                made[:, columns] = found
                for node in nodes:
                    if node in biases:
                        made[:, _columns(rows[node], run.sizes)] += biases[node]


def _together(p: Pass, term: Term, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    """Sums of a term whose results lie side by side: one product instead of one each."""
    rows, found = dict(p.stores), list[tuple[int, int]]()
    for k in range(term.count):
        here = _columns(rows[p.products[term.first + k]], sizes)
        # Several terms may add to the same sums, and must then meet the same columns.
        joined = (
            found and len(p.terms) == 1 and _columns(rows[p.products[term.first + k - 1]], sizes).stop == here.start
        )
        found[-1:] = [(found[-1][0], k + 1)] if joined else [*found[-1:], (k, k + 1)]
    return found


def _columns(row: Row, sizes: Mapping[str, int]) -> slice:
    begin = row.begin(sizes)
    return slice(begin, begin + sizes[row.width])
