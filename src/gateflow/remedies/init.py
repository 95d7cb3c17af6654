"""Initial weights that let a gradient through: orthogonal, identity, forget-bias and chrono.

Each function changes every cell of a model, all layers and both directions, torch's own layers too. A weight that is
computed, by pruning or a parametrization, is changed by way of what computes it, or the function refuses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.errors import ConfigError
from gateflow.layers import cells_to_change

__all__ = ["chrono", "forget_bias", "identity", "orthogonal"]


@torch.no_grad()
def orthogonal(model: nn.Module, gain: float = 1.0) -> None:
    """Makes the recurrent matrix of every gate orthogonal, so that a product of many neither grows nor shrinks.

    Args:
        model: whatever `layers.cells_in` can look into.
        gain: factor on the orthogonal matrices.

    Raises:
        ConfigError: no recurrent layer, or a cell without recurrent matrices.

    Source: Saxe, McClelland, Ganguli (2014). Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks. ICLR. arXiv:1312.6120.

    Example:
        >>> from gateflow import RNN
        >>> layer = RNN(3, 4)
        >>> orthogonal(layer)
        >>> W = layer.weight_hh_l0
        >>> torch.allclose(W @ W.T, torch.eye(4), atol=1e-5)
        True
    """
    with cells_to_change(model) as found:
        for name, cell in found.items():
            # Gate by gate: the fused [G·H, H] made orthogonal as a whole would leave each gate a matrix that shrinks.
            for block in _recurrent_blocks(name, cell):
                nn.init.orthogonal_(block, gain)


@torch.no_grad()
def identity(model: nn.Module, input_std: float = 0.001) -> None:
    """Makes the recurrent matrix the identity, biases zero and input weights small: with ReLU, an IRNN.

    Args:
        model: whatever `layers.cells_in` can look into; its cells must have one gate (Elman, tanh or ReLU).
        input_std: standard deviation of the input weights.

    Raises:
        ConfigError: no recurrent layer, or a cell with several gates, where the identity would saturate them.

    Source: Le, Jaitly, Hinton (2015). A simple way to initialize recurrent networks of rectified linear units.
    arXiv:1504.00941.

    Example:
        >>> from gateflow import RNN
        >>> layer = RNN(3, 4, nonlinearity="relu")
        >>> identity(layer)
        >>> bool((layer.weight_hh_l0 == torch.eye(4)).all())
        True
    """
    with cells_to_change(model) as found:
        for name, cell in found.items():
            if len(cell.gates) != 1:
                raise ConfigError(
                    f"{name}: identity is for cells with one gate such as elman_relu; {type(cell).__name__} has "
                    f"{len(cell.gates)}: try init.orthogonal or init.chrono"
                )
            nn.init.eye_(cell.weight_hh)
            # The deviation of 0.001 is the one of the paper.
            nn.init.normal_(cell.weight_ih, std=input_std)
            if cell.bias:
                nn.init.zeros_(cell.bias_ih)
                nn.init.zeros_(cell.bias_hh)


@torch.no_grad()
def forget_bias(model: nn.Module, value: float = 1.0) -> None:
    """Opens the gate that keeps the memory: its bias becomes `value`, whatever torch's two biases added up to.

    In a GRU the update gate is set so that it keeps: `+value` where an open gate keeps (`gru`), `-value` where an open
    gate overwrites (`full_gru`, `simplified_gru`).

    Args:
        model: whatever `layers.cells_in` can look into.
        value: the bias; a unit then starts with a half-life of about `ln 2 / ln(1 + exp(-value))` steps.

    Raises:
        ConfigError: no recurrent layer, or a cell without a gate that keeps, or without biases.

    Source: Gers, Schmidhuber, Cummins (2000). Learning to forget. Neural Computation 12(10). Jozefowicz, Zaremba,
    Sutskever (2015). An empirical exploration of recurrent network architectures. ICML.

    Example:
        >>> from gateflow import LSTM
        >>> layer = LSTM(3, 4)
        >>> forget_bias(layer, 2.0)
        >>> layer.bias_ih_l0[4:8] + layer.bias_hh_l0[4:8]
        tensor([2., 2., 2., 2.], grad_fn=<AddBackward0>)
    """
    _set_memory(model, lambda like: torch.full_like(like, value), main_gate_only=True)


@torch.no_grad()
def chrono(model: nn.Module, max_lag: int, min_lag: int = 1) -> None:
    """Spreads the units' memories over the lags that the task needs: `b_f = log U(min_lag, max_lag - 1)`, `b_i = -b_f`.

    Args:
        model: whatever `layers.cells_in` can look into.
        max_lag: longest dependency in steps; the one the task has, not the padded length.
        min_lag: shortest, at least 1.

    Raises:
        ConfigError: no recurrent layer, a cell without a gate that keeps, or lags out of order.

    Source: Tallec, Ollivier (2018). Can recurrent neural networks warp time? ICLR. arXiv:1804.11188.

    Example:
        >>> from gateflow import LSTM
        >>> layer = LSTM(3, 4)
        >>> chrono(layer, max_lag=100)
        >>> bool((layer.bias_ih_l0[:4] == -layer.bias_ih_l0[4:8]).all()), bool((layer.bias_ih_l0[4:8] >= 0).all())
        (True, True)
    """
    if not 1 <= min_lag <= max_lag - 1:
        raise ConfigError(f"chrono needs 1 <= min_lag <= max_lag - 1, found min_lag={min_lag}, max_lag={max_lag}")
    # σ(log(τ - 1)) = 1 - 1/τ: with that bias a memory fades to 1/e within τ steps, so τ is what is drawn evenly.
    low, high = float(min_lag), float(max_lag - 1)
    _set_memory(model, lambda like: torch.empty_like(like).uniform_(low, high).log_(), main_gate_only=False)


def _set_memory(model: nn.Module, draw: Callable[[Tensor], Tensor], main_gate_only: bool) -> None:
    """Sets the biases of the gates that keep: to what is drawn, with the sign under which the gate keeps."""
    with cells_to_change(model) as found:
        for name, cell in found.items():
            _set_gates(name, cell, draw, main_gate_only)


def _set_gates(name: str, cell: Cell, draw: Callable[[Tensor], Tensor], main_gate_only: bool) -> None:
    if not cell.keeps:
        raise ConfigError(f"{name}: {type(cell).__name__} has no gate that keeps a memory; its gates: {cell.gates}")
    # One draw for both gates, with opposite signs: what a unit keeps long it also writes seldom.
    gates = list(cell.keeps.items())[: 1 if main_gate_only else None]
    drawn = draw(_gate_bias(name, cell, gates[0][0]))
    for gate, sign in gates:
        _gate_bias(name, cell, gate).copy_(sign * drawn)


def _gate_bias(name: str, cell: Cell, gate: str) -> Tensor:
    """The bias that a gate's sum ends with; torch's second bias, which would add to it, is cleared."""
    # A bias before the norm would lose its mean and its scale to it.
    if f"norm_{gate}" in cell.norms:
        return getattr(cell, f"norm_{gate}_bias")
    if not cell.bias:
        raise ConfigError(f"{name}: {type(cell).__name__} was built with bias=False, so its gates have none to set")
    rows = cell.gate_rows(gate)
    # A gate that sees the input alone has one bias.
    if gate in cell.gates:
        cell.bias_hh[rows].zero_()
    return cell.bias_ih[rows]


def _recurrent_blocks(name: str, cell: Cell) -> list[Tensor]:
    if not cell.gates:
        raise ConfigError(f"{name}: {type(cell).__name__} has no recurrent matrix; its units see only their own past")
    return [cell.weight_hh[cell.gate_rows(gate)] for gate in cell.gates]
