"""The model's graph between recurrent layers: blocks of cotangents go down through it to the layers below."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["Blocks", "leaves_behind"]


def leaves_behind(tensors: Iterable[Tensor]) -> set[Tensor]:
    """The leaves that tensors were computed from: weights, and outputs and final states of earlier passes."""
    found = {t for t in tensors if t.is_leaf and t.requires_grad}
    waiting, seen = [t.grad_fn for t in tensors], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        found |= set() if variable is None else {variable}
        waiting += [behind for behind, _ in node.next_functions]
    return found


class Blocks:
    """For each leaf the cotangents that have come down to it, one per target: `[n, *leaf.shape]`.

    Args:
        leaves: outputs and final states of all passes.
    """

    def __init__(self, leaves: Iterable[Tensor]):
        self.leaves, self._come = set(leaves), dict[Tensor, Tensor]()

    def below(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Those of the leaves that tensors were computed from."""
        return list(leaves_behind(tensors) & self.leaves)

    def take(self, leaf: Tensor) -> Tensor | None:
        """What has come down to a leaf, if anything has."""
        return self._come.pop(leaf, None)

    def pass_down(self, tensors: Sequence[Tensor], cotangents: Sequence[Tensor]) -> None:
        """Takes cotangents `[n, *tensor.shape]` of tensors to the leaves that they were computed from."""
        computed: list[tuple[Tensor, Tensor]] = []
        for tensor, block in zip(tensors, cotangents, strict=True):
            if tensor in self.leaves:
                self._add(tensor, block)
            elif self.below([tensor]):
                computed.append((tensor, block))
        if computed:
            outputs, blocks = (list(column) for column in zip(*computed, strict=True))
            leaves = self.below(outputs)
            for leaf, block in zip(leaves, _batched_grad(outputs, leaves, blocks), strict=True):
                self._add(leaf, block)

    def _add(self, leaf: Tensor, block: Tensor) -> None:
        self._come[leaf] = self._come[leaf] + block if leaf in self._come else block


def _batched_grad(outputs: list[Tensor], leaves: list[Tensor], blocks: list[Tensor]) -> Sequence[Tensor]:
    """One backward pass for the whole block, or one per target where an operation cannot take a block."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return torch.autograd.grad(outputs, leaves, blocks, retain_graph=True, is_grads_batched=True)
    except RuntimeError:
        each = [torch.autograd.grad(outputs, leaves, rows, retain_graph=True) for rows in zip(*blocks, strict=True)]
        return [torch.stack(column) for column in zip(*each, strict=True)]
