"""The gradient of recurrent weights as the model and autograd compute it: what a decomposition has to add up to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.flow.probe import layer_name
from gateflow.flow.trace import Loss, evaluate, unchanged_random_state
from gateflow.layers import is_torchs
from gateflow.layers.stack import Stack, layers_run_by
from gateflow.recurrence import run_layer

__all__ = ["own_gradients"]

Weights = dict[str, dict[str, Tensor]]


def own_gradients(model: nn.Module, batch: Any, loss: Loss | None, seed: int) -> Weights:
    """Per layer and direction, for each weight of its cell, `∂E/∂W` of the model left to itself.

    Weights that dropout or a parametrization has changed for this run are taken as they were used.
    """
    used: list[tuple[str, str, Tensor]] = []
    with (
        unchanged_random_state(model),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=False),  # cuDNN differentiates in train mode only
        _thawed(model),
        _noted(model, used),
    ):
        total = evaluate(model, batch, loss, seed)
        grads = torch.autograd.grad(total, [w for _, _, w in used], allow_unused=True, materialize_grads=True)
    found: Weights = {}
    for (layer, name, _), grad in zip(used, grads, strict=True):
        before = found.setdefault(layer, {}).get(name)
        found[layer][name] = grad if before is None else before + grad
    return found


@contextlib.contextmanager
def _noted(model: nn.Module, used: list[tuple[str, str, Tensor]]) -> Iterator[None]:
    """Writes down the weights that each layer runs with, once."""
    names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    hooks = contextlib.ExitStack()

    def note(layer: str, weights: Mapping[str, Tensor | None]) -> None:
        for name, weight in weights.items():
            if weight is not None and not any(weight is w for _, _, w in used):
                used.append((layer, name, weight))

    def stack_layer(stack: Stack, k: int, cells: tuple[Cell, ...], x: Any, start: Any, lengths: Any, zone: Any) -> Any:
        for suffix, cell in zip(stack.suffixes(k), cells, strict=True):
            note(layer_name(names.get(stack, ""), suffix), cell._parameters)
        return run_layer(cells, x, start, lengths, zoneout=zone)

    def before(module: nn.Module, _: Any) -> None:
        own = names[module]
        if is_torchs(module):
            for cell in module._all_weights:
                suffix = cell[0].removeprefix("weight_ih")
                note(layer_name(own, suffix), {n.removesuffix(suffix): getattr(module, n) for n in cell})
        else:
            note(own or type(module).__name__, {n: getattr(module, n) for n in module._parameters})

    with hooks, layers_run_by(stack_layer):
        for module in model.modules():
            if is_torchs(module) or isinstance(module, nn.RNNCellBase | Cell):
                hooks.callback(module.register_forward_pre_hook(before).remove)
        yield


@contextlib.contextmanager
def _thawed(model: nn.Module) -> Iterator[None]:
    """Frozen weights have terms too: those that they would receive."""
    frozen = [p for p in model.parameters() if p.is_floating_point() and not p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad_(True)
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)
