"""The recurrent cells inside any model, torch's own layers included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeGuard

from torch import nn
from torch.nn.utils import parametrize

from gateflow.cells import Cell
from gateflow.cells.torch_equivalents import cell_of_layer
from gateflow.errors import ConfigError
from gateflow.layers.draft import Draft
from gateflow.layers.stack import Stack

__all__ = ["cells_in", "cells_to_change", "has_cells", "is_torchs", "module_names", "without_wrapper"]


def cells_in(model: nn.Module) -> dict[str, Cell]:
    """Every recurrent cell of a model, over the model's own weights: what is changed in place there is changed here.

    Args:
        model: any module that contains `gateflow` layers or cells, or `torch.nn.RNN`, `GRU` or `LSTM` layers.

    Returns:
        Cells by name, such as `"encoder.l0"` and `"encoder.l0_reverse"`: the lowest layer first.

    Raises:
        ConfigError: the model has no recurrent layer, or one of torch's with projections.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 3), nn.LSTM(3, 4, bidirectional=True))
        >>> list(cells_in(model))
        ['1.l0', '1.l0_reverse']
    """
    found: dict[str, Cell] = {}
    for module, name in module_names(model).items():
        for suffix, cell in _cells_of(module):
            found[".".join(part for part in (name, suffix) if part)] = cell
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no recurrent layer; gateflow's layers and cells are looked for, and "
            "torch.nn.RNN, GRU and LSTM"
        )
    return found


def has_cells(model: nn.Module) -> bool:
    """Whether a model has a recurrent cell, as `cells_in` finds them.

    Example:
        >>> has_cells(nn.LSTM(3, 4)), has_cells(nn.Linear(3, 4))
        (True, False)
    """
    return any(isinstance(module, Stack | Cell | nn.RNNBase) for module in model.modules())


@contextlib.contextmanager
def cells_to_change(model: nn.Module) -> Iterator[dict[str, Cell]]:
    """The cells of `cells_in` over drafts of their weights; what is changed in them is in force after the block.

    Raises:
        ConfigError: as `cells_in`; or, at the end, a weight is computed (pruned, weight-normed, parametrized) in a way
            that cannot give what it was changed to. No weight is changed then.

    Example:
        >>> layer = nn.LSTM(3, 4)
        >>> _ = nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        >>> with cells_to_change(layer) as cells:
        ...     _ = cells["l0"].weight_hh.fill_(0.5)
        >>> layer.weight_hh_l0.unique()
        tensor([0.5000], grad_fn=<Unique2Backward0>)
    """
    draft, found = Draft(), {}
    # Names without wrappers on both sides: `torch.compile` wraps a module, and `cells_in` does not show that.
    modules = {without_wrapper(name): module for name, module in model.named_modules()}
    for name, cell in cells_in(model).items():
        if (owner := modules.get(name)) is cell:
            own = {n: draft.of(cell, n) for n in cell.parameter_shapes()}
        else:
            owner, suffix = modules[name.rpartition(".")[0]], name.rpartition(".")[2]
            own = {n: draft.of(owner, f"{n}_{suffix}") for n, w in cell._parameters.items() if w is not None}
        found[name] = _blank(cell).over(own)
    yield found
    draft.write()


def _blank(cell: Cell) -> Cell:
    """The equations of a cell without what a parametrization or a hook has put in the places of its weights."""
    kind: Any = parametrize.type_before_parametrizations(cell)
    blank = kind.__new__(kind)
    vars(blank).update({n: v for n, v in vars(cell).items() if n not in cell.parameter_shapes()})
    return blank


def module_names(model: nn.Module) -> dict[nn.Module, str]:
    """The modules of a model and their names in the source: the wrappers of `torch.compile` are left out of those.

    Example:
        >>> import torch
        >>> list(module_names(nn.Sequential(torch.compile(nn.GRU(3, 4), backend="eager"))).values())
        ['', '0', '0']
    """
    return {module: without_wrapper(name) for name, module in model.named_modules()}


def without_wrapper(name: str) -> str:
    """The name of a module or parameter as it was before `torch.compile` wrapped what holds it.

    Example:
        >>> without_wrapper("encoder._orig_mod.weight_hh_l0")
        'encoder.weight_hh_l0'
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def is_torchs(module: nn.Module) -> TypeGuard[nn.RNNBase]:
    """Whether a module is a recurrent layer of torch's own; `gateflow.LSTM` is an `nn.LSTM` too, but not torch's.

    Example:
        >>> from gateflow import LSTM
        >>> is_torchs(nn.LSTM(3, 4)), is_torchs(LSTM(3, 4)), isinstance(LSTM(3, 4), nn.LSTM)
        (True, False, True)
    """
    # Drop-ins inherit from torch's layers, so `isinstance` alone does not tell.
    return isinstance(module, nn.RNNBase) and not isinstance(module, Stack)


def _cells_of(module: nn.Module) -> Iterator[tuple[str, Cell]]:
    if isinstance(module, Stack):
        suffixes = [s for k in range(module.num_layers) for s in module.suffixes(k)]
        yield from zip((s.lstrip("_") for s in suffixes), module.cells, strict=True)
    elif isinstance(module, Cell):
        yield "", module
    elif is_torchs(module):
        yield from _torch_cells(module)


def _torch_cells(module: nn.RNNBase) -> Iterator[tuple[str, Cell]]:
    # Its `weight_hr` has no place in a plain LSTM cell; measured without it the reach would be wrong.
    if module.proj_size:
        raise ConfigError("torch.nn.LSTM with proj_size is not looked into; use gateflow.LSTM")
    for k in range(module.num_layers):
        for direction in ["", "_reverse"][: 1 + module.bidirectional]:
            suffix = f"_l{k}{direction}"
            weights = {n: getattr(module, n + suffix) for n in ("weight_ih", "weight_hh")}
            weights |= {n: getattr(module, n + suffix) for n in ("bias_ih", "bias_hh") if module.bias}
            size = weights["weight_ih"].shape[1]
            # On the meta device: neither memory nor a draw from the generator for weights that are replaced at once.
            # By the `mode` that torch's layers carry: a user's subclass of `nn.LSTM` has it too.
            blank = cell_of_layer(module.mode)(size, module.hidden_size, bias=module.bias, device="meta")
            yield suffix.lstrip("_"), blank.over(weights)
