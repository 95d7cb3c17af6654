"""The large products outside of the loop: those of the input before it, the gradients of the weights after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
        x = _joined([run.x[:, _columns(row, run.sizes)] for row in operands(term)], 1)
        for first, last in _together(p, term, run.sizes):
            nodes = p.products[term.first + first : term.first + last]
            weight = _gates(term, first, last, run)
            columns = slice(_columns(rows[nodes[0]], run.sizes).start, _columns(rows[nodes[-1]], run.sizes).stop)
            found = multiply(x, weight.T, rounded=run.rounded)
            if columns.start in begun:
                made[:, columns] += found
                continue
            begun.add(columns.start)
            if all(node in biases for node in nodes):
                torch.add(found, _joined([biases[node] for node in nodes], 0), out=made[:, columns])
            else:
                made[:, columns] = found
                for node in nodes:
                    if node in biases:
                        made[:, _columns(rows[node], run.sizes)] += biases[node]


def _gates(term: Term, first: int, last: int, run: Sequences) -> Tensor:
    """The weights of some sums of a term, below each other; where they lie so already, no copy."""
    blocks = term.weights[0][first:last]
    begin, sizes = blocks[0], run.sizes
    follow = all(w == replace(begin, block=begin.block + k, bias=w.bias) for k, w in enumerate(blocks))
    if len(term.weights) == 1 and follow and not begin.transposed:
        return run.weights[begin.name][begin.block * sizes[begin.rows] : (blocks[-1].block + 1) * sizes[begin.rows]]
    each = range(first, last)
    return torch.cat([torch.cat([matrix(b[k], run.weights, sizes) for b in term.weights], 1) for k in each])


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


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
