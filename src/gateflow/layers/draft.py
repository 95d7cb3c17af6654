"""Drafts of weights: changed in place, then written to the parameters, or to what a weight is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.weight_norm import WeightNorm

from gateflow.errors import ConfigError

__all__ = ["Draft"]


@dataclass(eq=False)
class _Weight:
    module: nn.Module
    name: str
    before: Tensor
    draft: Tensor


class Draft:
    """Copies of weights, to be changed in place and then written, all or none.

    A parameter takes what its draft holds. A weight that is computed (`torch.nn.utils.parametrize`, `prune`,
    `weight_norm`) is changed by way of what computes it; where that cannot give the drafted value, nothing is written.
    Drafts of 16-bit weights are float32, so that a decomposition can be asked of them.
    """

    def __init__(self) -> None:
        self._weights: dict[tuple[nn.Module, str] | Tensor, _Weight] = {}

    def of(self, module: nn.Module, name: str) -> Tensor:
        """The draft of a weight; one that several layers share has one."""
        now = getattr(module, name)
        # By the tensor itself where it is one: tied weights have one draft, and the last change counts.
        key = now if isinstance(now, nn.Parameter) else (module, name)
        if key not in self._weights:
            before = now.detach().clone()
            self._weights[key] = _Weight(module, name, before, before.to(_wide(before), copy=True))
        return self._weights[key].draft

    @torch.no_grad()
    def write(self) -> None:
        """Puts the drafts in force.

        Raises:
            ConfigError: what computes a weight cannot give the drafted value; every weight is then what it was.
        """
        # On the meta device there are no values to compare or write.
        real = (w for w in self._weights.values() if not w.before.is_meta)
        # A computed weight that was left alone is no obstacle, even where it could not be set.
        changed = [w for w in real if not torch.equal(w.draft.to(w.before), w.before)]
        plain = [w for w in changed if w.module._parameters.get(w.name) is not None]
        computed = [w for w in changed if w not in plain]
        # Computed weights first, since only they can fail; plain ones are copied when all of them are in force.
        undo = [_undo(module) for module in {w.module for w in computed}]
        for weight in computed:
            value = weight.draft.to(weight.before)
            if not _written(weight.module, weight.name, value):
                for step in undo:
                    step()
                for other in computed:
                    _refresh(other.module, other.name)
                raise _refusal(weight)
        for weight in plain:
            getattr(weight.module, weight.name).copy_(weight.draft)


def _undo(module: nn.Module) -> Callable[[], None]:
    """A function that puts all parameters and buffers of a module back, those of parametrizations included."""
    owners: list[tuple[dict[str, Any], str]] = [(m._parameters, n) for m in module.modules() for n in m._parameters]
    owners += [(m._buffers, n) for m in module.modules() for n in m._buffers]
    kept = [(held, n, t, t.detach().clone()) for held, n in owners if (t := held[n]) is not None]

    def back() -> None:
        for held, name, tensor, value in kept:
            # The tensor as well as its values, should a right inverse have replaced it.
            held[name] = tensor
            tensor.copy_(value)

    return back


def _wide(weight: Tensor) -> torch.dtype:
    return torch.float32 if weight.dtype in (torch.bfloat16, torch.float16) else weight.dtype


def _written(module: nn.Module, name: str, value: Tensor) -> bool:
    """Whether the weight is now the value, its parameters having been set as far as that is possible."""
    hook = _hook_of(module, name)
    if parametrize.is_parametrized(module, name):
        try:
            setattr(module, name, value)
        except (NotImplementedError, RuntimeError, ValueError):  # no right inverse, or none for this value
            return False
    elif isinstance(hook, prune.BasePruningMethod):
        getattr(module, name + "_orig").copy_(value)
    elif isinstance(hook, WeightNorm):
        # w = g · v / ‖v‖: with v = w and g = ‖w‖ it is w.
        getattr(module, name + "_v").copy_(value)
        getattr(module, name + "_g").copy_(torch.norm_except_dim(value, 2, hook.dim))
    _refresh(module, name)
    # What computes a weight rounds, by a norm or a decomposition; what cannot give the value is off by far more.
    near = 1e3 * torch.finfo(value.dtype).eps
    return torch.allclose(getattr(module, name), value, rtol=near, atol=near)


def _refresh(module: nn.Module, name: str) -> None:
    """Computes a weight again that a hook computes before each call."""
    hook = _hook_of(module, name)
    if isinstance(hook, prune.BasePruningMethod):
        setattr(module, name, hook.apply_mask(module))
    elif isinstance(hook, WeightNorm):
        setattr(module, name, hook.compute_weight(module))


def _hook_of(module: nn.Module, name: str) -> Any:
    hooks = module._forward_pre_hooks.values()
    return next((h for h in hooks if getattr(h, "_tensor_name", getattr(h, "name", None)) == name), None)


def _refusal(weight: _Weight) -> ConfigError:
    return ConfigError(
        f"{weight.name} of {type(weight.module).__name__} is computed from other parameters (pruned or parametrized), "
        "and what computes it cannot give the value that was asked for; nothing was changed. Set the weights first and "
        "prune or parametrize them then, or undo that with torch.nn.utils.prune.remove or "
        "torch.nn.utils.parametrize.remove_parametrizations"
    )
