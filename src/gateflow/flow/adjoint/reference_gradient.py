"""The gradient as the model and autograd compute it, with no replay: what a decomposition has to add up to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gateflow.cells import Cell
from gateflow.flow.capture.probe import layer_name
from gateflow.flow.capture.trace import Loss, evaluate
from gateflow.flow.capture.unchanged import unchanged_random_state
from gateflow.layers import is_torchs, module_names, without_wrapper
from gateflow.layers.stack import Stack, layers_run_by
from gateflow.recurrence import run_layer

__all__ = ["ReferenceGradients", "reference_gradients"]


@dataclass(frozen=True, eq=False)
class ReferenceGradients:
    """`∂E/∂W` of the model left to itself.

    Attributes:
        layers: per layer and direction, the gradient of each weight of its cell.
        parameters: norm of the gradient of each parameter that is trained; none if the loss does not depend on it.
    """

    layers: dict[str, dict[str, Tensor]]
    parameters: dict[str, float | None]


def reference_gradients(model: nn.Module, batch: Any, loss: Loss | None, seed: int) -> ReferenceGradients:
    """One run of the model and one backward pass of autograd.

    Weights that dropout or a parametrization has changed for this run are taken as they were used.
    """
    # Listed before frozen weights are thawed: those are no parameters that are trained.
    trained = {without_wrapper(name): p for name, p in model.named_parameters() if p.requires_grad}
    used: list[tuple[str, str, Tensor]] = []
    with (
        unchanged_random_state(model),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=False),  # cuDNN differentiates in train mode only
        _thawed(model),
        parametrize.cached(),  # a weight that is computed is then the one that the layer uses
        _noted(model, used),
    ):
        total = evaluate(model, batch, loss, seed)
        grads = torch.autograd.grad(total, [*(view for _, _, view in used), *trained.values()], allow_unused=True)
    norms = (None if g is None else float(torch.linalg.vector_norm(g.double())) for g in grads[len(used) :])
    return ReferenceGradients(_added_up(used, grads), dict(zip(trained, norms, strict=True)))


def _added_up(used: list[tuple[str, str, Tensor]], grads: Sequence[Tensor | None]) -> dict[str, dict[str, Tensor]]:
    """A cell that was called more than once has the sum over its calls."""
    found: dict[str, dict[str, Tensor]] = {}
    for (layer, name, view), given in zip(used, grads, strict=False):
        grad, earlier = torch.zeros_like(view) if given is None else given, found.setdefault(layer, {}).get(name)
        found[layer][name] = grad if earlier is None else earlier + grad
    return found


@contextlib.contextmanager
def _noted(model: nn.Module, used: list[tuple[str, str, Tensor]]) -> Iterator[None]:
    """Each layer runs with views of its weights, which are written down: of a shared weight each has its own part."""
    names, hooks = module_names(model), contextlib.ExitStack()

    def views(layer: str, weights: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        found = {name: w.view_as(w) for name, w in weights.items() if w is not None}
        used.extend((layer, name, view) for name, view in found.items())
        return found

    def stack_layer(stack: Stack, k: int, cells: tuple[Cell, ...], x: Any, start: Any, lengths: Any, zone: Any) -> Any:
        titles = [layer_name(names.get(stack, ""), suffix) for suffix in stack.suffixes(k)]
        over = (cell.over(views(title, cell._parameters)) for title, cell in zip(titles, cells, strict=True))
        return run_layer(tuple(over), x, start, lengths, zoneout=zone)

    with hooks, layers_run_by(stack_layer):
        for module in model.modules():
            if is_torchs(module) or isinstance(module, nn.RNNCellBase | Cell):
                hooks.enter_context(_with_views(module, names[module], used))
        yield


@contextlib.contextmanager
def _with_views(module: Any, name: str, used: list[tuple[str, str, Tensor]]) -> Iterator[None]:
    """While a cell or one of torch's layers runs, views of its weights stand in their places."""
    places, own = _places(module, name), []

    def swap(*_: Any) -> None:
        own.append(dict(module._parameters))
        for title, weight, place in places:
            found = getattr(module, place)
            if module._parameters.get(place) is not None:  # not one that is computed, which no other layer has
                found = module._parameters[place] = found.view_as(found)
            if found is not None:
                used.append((title, weight, found))

    def swap_back(*_: Any) -> None:
        module._parameters.update(own.pop())
        # Torch's layers keep a list of their weights, apart
        # from the parameters, in which the views would stay.
        if is_torchs(module):
            module._init_flat_weights()

    hooks = [module.register_forward_pre_hook(swap), module.register_forward_hook(swap_back, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _places(module: Any, name: str) -> list[tuple[str, str, str]]:
    """For each weight the layer's name, the weight's as cells have it, and the attribute of the module."""
    if not is_torchs(module):
        return [(name or type(module).__name__, n, n) for n in module._parameters]
    # Torch lists the names of its weights by layer and direction, `weight_ih_l0_reverse` among them.
    suffixes = [names[0].removeprefix("weight_ih") for names in module._all_weights]
    return [
        (layer_name(name, suffix), n.removesuffix(suffix), n)
        for suffix, names in zip(suffixes, module._all_weights, strict=True)
        for n in names
    ]


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
