"""The recurrent cells inside any model, torch's own layers included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from torch import nn

from gateflow import cells
from gateflow.cells import Cell
from gateflow.errors import ConfigError
from gateflow.layers.stack import Stack

__all__ = ["cells_in", "is_torchs"]

_TORCH: dict[str, type[Cell]] = {
    "LSTM": cells.LSTM,
    "GRU": cells.GRU,
    "RNN_TANH": cells.Elman,
    "RNN_RELU": cells.ElmanReLU,
}


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
    for name, module in model.named_modules():
        for suffix, cell in _cells_of(module):
            found[".".join(part for part in (name, suffix) if part)] = cell
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no recurrent layer; gateflow's layers and cells are looked for, and "
            "torch.nn.RNN, GRU and LSTM"
        )
    return found


def is_torchs(module: nn.Module) -> TypeGuard[nn.RNNBase]:
    """Whether a module is a recurrent layer of torch's own; `gateflow.LSTM` is an `nn.LSTM` too, but not torch's.

    Example:
        >>> from gateflow import LSTM
        >>> is_torchs(nn.LSTM(3, 4)), is_torchs(LSTM(3, 4)), isinstance(LSTM(3, 4), nn.LSTM)
        (True, False, True)
    """
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
    if module.proj_size:
        raise ConfigError("torch.nn.LSTM with proj_size is not looked into; use gateflow.LSTM")
    for k in range(module.num_layers):
        for direction in ["", "_reverse"][: 1 + module.bidirectional]:
            suffix = f"_l{k}{direction}"
            weights = {n: getattr(module, n + suffix) for n in ("weight_ih", "weight_hh")}
            weights |= {n: getattr(module, n + suffix) for n in ("bias_ih", "bias_hh") if module.bias}
            size = weights["weight_ih"].shape[1]
            blank = _TORCH[module.mode](size, module.hidden_size, bias=module.bias, device="meta")
            yield suffix.lstrip("_"), blank.over(weights)
