"""Between recurrent layers: cotangents go down through the model's own graph to the layers below."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gateflow.flow.capture.probe import leaves_behind

__all__ = ["LeafCotangents"]


class LeafCotangents:
    """For each leaf the cotangents that have come down to it, one per target: `[n, *leaf.shape]`.

    Args:
        leaves: outputs and final states of all replays.
    """

    def __init__(self, leaves: Iterable[Tensor]):
        self.leaves, self._come = set(leaves), dict[Tensor, Tensor]()

    def leaves_under(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Those of the leaves that tensors were computed from."""
        return list(leaves_behind(tensors) & self.leaves)

    def take(self, leaf: Tensor) -> Tensor | None:
        """What has come down to a leaf, if anything has."""
        return self._come.pop(leaf, None)

    def pass_down(self, tensors: Sequence[Tensor], cotangents: Sequence[Tensor]) -> None:
        """Takes cotangents `[n, *tensor.shape]` of tensors to the leaves that they were computed from."""
        # A tensor that is a leaf itself (a layer fed by the
        # layer below with nothing in between) needs no autograd.
        computed: list[tuple[Tensor, Tensor]] = []
        for tensor, block in zip(tensors, cotangents, strict=True):
            if tensor in self.leaves:
                self._add(tensor, block)
            elif self.leaves_under([tensor]):
                computed.append((tensor, block))
        # All of them in one call: of two tensors that come from
        # the same layer the graph below is then walked once.
        if computed:
            outputs, blocks = (list(column) for column in zip(*computed, strict=True))
            leaves = self.leaves_under(outputs)
            for leaf, block in zip(leaves, _batched_grad(outputs, leaves, blocks), strict=True):
                self._add(leaf, block)

    def _add(self, leaf: Tensor, block: Tensor) -> None:
        self._come[leaf] = self._come[leaf] + block if leaf in self._come else block


def _batched_grad(outputs: list[Tensor], leaves: list[Tensor], blocks: list[Tensor]) -> Sequence[Tensor]:
    """One backward pass for the whole block, or one per target where an operation cannot take a block."""
    try:
        # vmap warns of each operation that it has to run one
        # target at a time: slower, and right all the same.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            return torch.autograd.grad(outputs, leaves, blocks, retain_graph=True, is_grads_batched=True)
    # What vmap refuses altogether (an autograd.Function without a rule for it) ends as a RuntimeError.
    except RuntimeError:
        each = [torch.autograd.grad(outputs, leaves, rows, retain_graph=True) for rows in zip(*blocks, strict=True)]
        return [torch.stack(column) for column in zip(*each, strict=True)]
