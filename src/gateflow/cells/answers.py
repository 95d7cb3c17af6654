"""What a cell answers to numbers that are always the same: its equations are known by it, however they are written."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from gateflow.cells.cell import Cell

__all__ = ["answer"]

_PRIME = 4093


def answer(cell: Cell) -> tuple[float, ...] | None:
    """One step of a cell over fixed weights, input and state, in float64: two numbers for each part of its state.

    Names and order of lines change nothing of it, another sign or function does, or another state to start from;
    weights of its own do not either. It is asked as it reads after training, so that noise of training is none of it.

    Args:
        cell: of any sizes, which the numbers depend on.

    Returns:
        None where a step draws at random, gives a number that is not finite, or works on float64 or the CPU not at all.

    Example:
        >>> from gateflow.cells import get
        >>> lstm, cifg = (answer(get(name)(3, 4)) for name in ("lstm", "cifg"))
        >>> lstm == answer(get("lstm")(3, 4)), lstm == cifg
        (True, False)
    """
    # A cell on torch's "meta" device has shapes and no numbers; those that are asked here are its own.
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"), torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        try:
            found = _step(cell)
            # By other generators than torch's, or by a clock: no two answers are alike.
            draws = _step(cell) != found
        # A user's code may raise anything where it is asked for what it was not written for.
        except Exception:  # noqa: BLE001
            return None
        draws |= not torch.equal(before, torch.get_rng_state())
    return None if draws or not all(map(math.isfinite, found)) else found


def _step(cell: Cell) -> tuple[float, ...]:
    shapes = cell.parameter_shapes()
    # Columns are summed over, so that weights are the smaller the more there are.
    weights = {name: _numbers(shape, k).div_(math.sqrt(shape[-1])) for k, (name, shape) in enumerate(shapes.items())}
    view = cell.over(weights).bind()
    # What a step sets is set on the view and not on the cell.
    vars(view).pop("_origin")
    # Nor the mode: modules that it holds are copied, and have no weights.
    vars(view)["_modules"] = copy.deepcopy(view._modules)
    view.eval()
    x = _numbers((2, cell.row_size), 101)
    # On top of what a sequence begins with, zero unless a cell says otherwise; positive, as a normaliser has to be.
    state = tuple(
        start + 0.5 + 0.3 * _numbers((2, size), 202 + k)
        for k, (start, size) in enumerate(zip(view.initial_state(x), cell.state_sizes.values(), strict=True))
    )
    new = view.advance(x, state)
    return tuple(
        float(total) for part in new for total in (part.mean(), (part * _numbers(tuple(part.shape), 303)).mean())
    )


def _numbers(shape: tuple[int, ...], k: int) -> Tensor:
    """Numbers between -1 and 1, the same everywhere: no generator is asked, which may differ by version."""
    # Multiples of an irrational number lie evenly; repeated after a prime number of them, so that no two rows of any
    # usual width are equal, and large cells take no time.
    count, golden = math.prod(shape), (math.sqrt(5) - 1) / 2
    few = 2 * ((torch.arange(1, _PRIME + 1, dtype=torch.float64) * golden + k * math.e) % 1) - 1
    return few.repeat(-(-count // _PRIME))[:count].reshape(shape)
