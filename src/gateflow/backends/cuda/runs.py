"""A run over sequences and its gradients: a kernel's loop, and the large products before and after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gateflow.backends.base import Forward, Gradients, Sequences
from gateflow.backends.cuda.arguments import Lines
from gateflow.backends.cuda.kernel import Loop, loop_of
from gateflow.backends.cuda.machine import Machine
from gateflow.backends.cuda.products import multiply
from gateflow.backends.previous_states import PreviousStates
from gateflow.compiler.node import Sizes
from gateflow.compiler.plan import Kind, Row
from gateflow.compiler.weight_gradients import WeightProduct, weight_products

__all__ = ["backward", "forward"]


def forward(run: Sequences, machine: Machine, *, keep: bool) -> Forward:
    """Runs the steps, and keeps what the backward loop needs, if `keep`."""
    loop = loop_of(run.step.cell, "train" if keep else "infer")
    run.histories = [run.x.new_empty(run.x.shape[0], start.shape[1]) for start in run.states]
    saved = run.x.new_empty(run.x.shape[0], loop.columns("saved", Sizes(run.sizes))) if keep else None
    if run.x.shape[0]:
        _run_forward(loop, run, machine, saved)
    return Forward(run.histories, run.finals(), saved)


def backward(
    run: Sequences,
    machine: Machine,
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: frozenset[str],
    d_x: bool,
) -> Gradients:
    """The gradients of a run; see `Backend.backward`."""
    # A copy: the loop writes here, and autograd may give the same gradient to others.
    carries = [
        torch.zeros_like(s) if d is None else d.clone(memory_format=torch.contiguous_format)
        for d, s in zip(d_finals, run.states, strict=True)
    ]
    if not run.x.shape[0]:
        zeros = {name: torch.zeros_like(run.weights[name]) for name in wanted}
        return Gradients(torch.zeros_like(run.x) if d_x else None, zeros, carries)
    sizes = Sizes(run.sizes)
    if saved is None:
        again = loop_of(run.step.cell, "recompute")
        saved = run.x.new_empty(run.x.shape[0], again.columns("saved", sizes))
        if run.step.cell.storage.saved:
            _run_forward(again, run, machine, saved)
    return _Backward(run, machine, saved, d_output, carries, wanted, d_x).run_all()


def _run_forward(loop: Loop, run: Sequences, machine: Machine, saved: Tensor | None) -> None:
    tensors = _known(run) | ({} if saved is None else {"saved": Lines(saved)})
    ahead = loop.ahead(run)
    loop.run(run, tensors | ({} if ahead is None else {"hoisted": Lines(ahead)}), machine, back=False)


def _known(run: Sequences) -> dict[str, Lines]:
    """The tensors that all loops over a run read or write."""
    tensors = {"x": Lines(run.x)} | {f"weights.{n}": Lines(w) for n, w in run.weights.items()}
    for node, history, start in zip(run.step.cell.graph.states, run.histories, run.states, strict=True):
        tensors[f"state.{node.name}"] = Lines(history, start)
    tensors |= {n: Lines(t) for n, t in zip(run.step.cell.line_inputs, run.holds, strict=True)}
    if run.line_of_sizes is not None:
        tensors["sizes"] = Lines(run.line_of_sizes)
    if run.numbers is not None:
        tensors["numbers"] = Lines(run.numbers)
    return tensors


class _Backward:
    """One run of the backward loop, and the products that follow it."""

    def __init__(
        self,
        run: Sequences,
        machine: Machine,
        saved: Tensor,
        d_output: Tensor | None,
        carries: list[Tensor],
        wanted: frozenset[str],
        d_x: bool,
    ):
        self.run, self.machine, self.carries, self.wanted, self.d_x = run, machine, carries, wanted, d_x
        self.sizes, self.loop = Sizes(run.sizes), loop_of(run.step.cell, "backward")
        self.products = weight_products(run.step.cell, run.sizes)
        # One line of zeros stands for all.
        zeros = run.x.new_zeros(1, run.states[0].shape[1]).expand(run.x.shape[0], -1)
        self.saved, self.d_output = saved, zeros if d_output is None else d_output
        self.made = {n: self._lines(n) for n in ("delta", "operand", "d_x")}
        self.previous = PreviousStates(run)
        self.narrow: Tensor | None = None
        self.total: Tensor | None = None
        self.gradients = dict[str, Tensor]()

    def _lines(self, name: str) -> Tensor:
        return self.run.x.new_empty(self.run.x.shape[0], self.loop.columns(name, self.sizes))

    def run_all(self) -> Gradients:
        """The loop, then everything else."""
        tensors = _known(self.run) | {name: Lines(made) for name, made in self.made.items()}
        states = self.run.step.cell.graph.states
        tensors |= {f"carry.{s.name}": Lines(c) for s, c in zip(states, self.carries, strict=True)}
        tensors |= {"saved": Lines(self.saved), "d_output": Lines(self.d_output)}
        reduced = self.loop.run(self.run, tensors, self.machine, back=True)
        for product in self.products.all:
            self._add(product)
        for k, name in enumerate(self.loop.plan.parameters):
            if reduced is not None and name in self.wanted:
                # As long as the longest of them.
                self._put(name, slice(None), reduced[k].sum(0)[: self.run.weights[name].shape[0]])
        zeros = {name: torch.zeros_like(self.run.weights[name]) for name in self.wanted - self.gradients.keys()}
        return Gradients(self._of_input() if self.d_x else None, self.gradients | zeros, self.carries)

    def _add(self, product: WeightProduct) -> None:
        """What a product adds to the gradients of its weight and bias."""
        name, bias = product.weight.name, product.weight.bias
        if bias in self.wanted:
            self._put(bias, product.rows, self._sum(product.columns))
        if name in self.wanted:
            for lines, operand in self._operand(product.operand):
                delta = self._delta(product.columns)[lines]
                self._put(name, product.rows, multiply(delta.T, operand, rounded=self.run.rounded))

    def _put(self, name: str, rows: slice, found: Tensor) -> None:
        weight = self.run.weights[name]
        if name not in self.gradients and found.shape == weight.shape:
            self.gradients[name] = found
            return
        if name not in self.gradients:
            self.gradients[name] = torch.zeros_like(weight)
        self.gradients[name][rows] += found

    def _delta(self, columns: slice) -> Tensor:
        """Gradients of sums, as several products need them: rounded once."""
        if not self.run.rounded:
            return self.made["delta"][:, columns]
        if self.narrow is None:
            self.narrow = self.made["delta"].bfloat16()
        return self.narrow[:, columns]

    def _sum(self, columns: slice) -> Tensor:
        """These, added up over all lines: what several biases have for a gradient, each its own copy of it."""
        if self.total is None:
            self.total = self.made["delta"].sum(0)
        return self.total[columns].clone()

    def _operand(self, row: Row) -> list[tuple[slice, Tensor]]:
        """What a product was applied to: lines, and the values there."""
        run = self.run
        if row.kind is Kind.PREVIOUS:
            names = [f"state.{s.name}" for s in run.step.cell.graph.states]
            found = self.previous.lines(names.index(row.tensor), 0, run.x.shape[0])
            return [(lines, values[:, self._columns(row)]) for lines, values in found]
        whole = run.x if row.tensor == "x" else self.made[row.tensor]
        return [(slice(None), whole[:, self._columns(row)])]

    def _of_input(self) -> Tensor:
        direct, d_x = self.made["d_x"], None
        for product in self.products.of_input:
            weight = self.run.weights[product.weight.name][product.rows]
            found = multiply(self._delta(product.columns), weight, rounded=self.run.rounded)
            if d_x is None and found.shape == self.run.x.shape:
                d_x = found
                continue
            d_x = torch.zeros_like(self.run.x, memory_format=torch.contiguous_format) if d_x is None else d_x
            d_x[:, self._columns(product.operand)] += found
        if d_x is None:
            d_x = torch.zeros_like(self.run.x, memory_format=torch.contiguous_format)
        return d_x + direct if direct.shape[1] else d_x

    def _columns(self, row: Row) -> slice:
        begin = row.begin(self.sizes)
        return slice(begin, begin + self.sizes[row.width])
