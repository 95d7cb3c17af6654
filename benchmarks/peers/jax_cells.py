"""The measured cells in JAX, one function each: weights, state `(h, c)` and the input's part of the gates → new state.

Cells with one part of state leave `c` alone; XLA removes it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.nn import sigmoid, softplus


def _recurrent(w: Any, h: Any) -> Any:
    return h @ w["weight_hh"].T + w["bias_hh"]


def rnn(w: Any, state: Any, gates: Any) -> Any:
    """Elman's."""
    h, c = state
    return jnp.tanh(gates + _recurrent(w, h)), c


def gru(w: Any, state: Any, gates: Any) -> Any:
    """Reset after the product."""
    h, c = state
    r_x, z_x, n_x = jnp.split(gates, 3, axis=1)
    r_h, z_h, n_h = jnp.split(_recurrent(w, h), 3, axis=1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    return (1 - z) * jnp.tanh(n_x + r * n_h) + z * h, c


def full_gru(w: Any, state: Any, gates: Any) -> Any:
    """Reset before the product."""
    h, c = state
    H = h.shape[1]
    W, b = w["weight_hh"], w["bias_hh"]
    u, r = jnp.split(sigmoid(gates[:, : 2 * H] + h @ W[: 2 * H].T + b[: 2 * H]), 2, axis=1)
    n = jnp.tanh(gates[:, 2 * H :] + (r * h) @ W[2 * H :].T + b[2 * H :])
    return u * n + (1 - u) * h, c


def lstm(w: Any, state: Any, gates: Any) -> Any:
    """Torch's order of gates."""
    h, c = state
    i, f, g, o = jnp.split(gates + _recurrent(w, h), 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def peephole_lstm(w: Any, state: Any, gates: Any) -> Any:
    """Gates see the memory, the output gate the new one."""
    h, c = state
    i, f, g, o = jnp.split(gates + _recurrent(w, h), 4, axis=1)
    i, f = sigmoid(i + w["peephole_input"] * c), sigmoid(f + w["peephole_forget"] * c)
    c = f * c + i * jnp.tanh(g)
    return sigmoid(o + w["peephole_output"] * c) * jnp.tanh(c), c


def layernorm_lstm(w: Any, state: Any, gates: Any) -> Any:
    """A norm on each gate's sum and on the memory that is read."""
    h, c = state
    parts = jnp.split(gates + _recurrent(w, h), 4, axis=1)
    # In the order of the weights' blocks.
    names = ("input", "forget", "content", "output")
    i, f, g, o = (_norm(w, name, part) for name, part in zip(names, parts, strict=True))
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(_norm(w, "memory", c)), c


def user(w: Any, state: Any, gates: Any) -> Any:
    """`benchmarks.cells.UserCell`."""
    h, c = state
    u, d, n = jnp.split(gates + _recurrent(w, h), 3, axis=1)
    u = sigmoid(u + w["peephole"] * h)
    return u * jnp.tanh(n) / (1 + softplus(d)) + (1 - u) * h, c


def _norm(w: Any, name: str, row: Any) -> Any:
    centred = row - row.mean(axis=1, keepdims=True)
    scale = jnp.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return centred / scale * w[f"norm_{name}_weight"] + w[f"norm_{name}_bias"]


STEPS = {step.__name__: step for step in (rnn, gru, full_gru, lstm, peephole_lstm, layernorm_lstm, user)}
