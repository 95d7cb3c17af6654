"""Weights of Keras' recurrent layers as a layer of ours; Keras itself is not needed.

Keras has its weights transposed, `[I, G·H]`, its GRU's gates in the order `z r h`, and an open `z` keeps. Its GRU
resets before the product or, with `reset_after`, after it, as cuDNN does, with two biases.

Source: keras.layers.SimpleRNN, GRU, LSTM and Bidirectional of Keras 3, keras/src/layers/rnn.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import GRU, FullGRU
from gateflow.cells.onnx_equivalents import ONNX_EQUIVALENTS
from gateflow.errors import ExportError
from gateflow.export.layer_of_weights import checked, layer_of_weights
from gateflow.layers import Recurrent

__all__ = ["from_keras", "from_keras_weights"]

GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul", None: None}


def from_keras(layer: Any) -> Recurrent:
    """The layer that a Keras layer computes, with its weights.

    Args:
        layer: a built `keras.layers.SimpleRNN`, `GRU` or `LSTM`, or a `Bidirectional` around one.

    Returns:
        A `Recurrent`, batch first, whose output is what Keras returns with `return_sequences=True`.

    Raises:
        ExportError: it is another layer, reads backwards, or has other activations; or its weights do not fit.

    Example:
        >>> import pytest
        >>> keras = pytest.importorskip("keras", reason="needs keras")
        >>> theirs = keras.layers.GRU(4, return_sequences=True)
        >>> theirs.build((None, None, 3))
        >>> from_keras(theirs)
        Recurrent(
          GRU(3, 4), batch_first=True
          (dense): Sequential()
        )
    """
    kind, config = type(layer).__name__, layer.get_config()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy 2, for what Keras 3.15 does with torch's tensors
        weights = layer.get_weights()
    if kind == "Bidirectional":
        inner = layer.forward_layer
        options = _options(type(inner).__name__, inner.get_config())
        merge = config.get("merge_mode", "concat")
        return from_keras_weights(type(inner).__name__, weights, bidirectional=True, merge_mode=merge, **options)
    return from_keras_weights(kind, weights, **_options(kind, config))


def from_keras_weights(
    kind: str,
    weights: Sequence[Any],
    *,
    activation: str = "tanh",
    reset_after: bool = True,
    bidirectional: bool = False,
    merge_mode: str | None = "concat",
) -> Recurrent:
    """The same from `layer.get_weights()`, a list of numpy arrays.

    Args:
        kind: "SimpleRNN", "GRU" or "LSTM".
        weights: kernel `[I, G·H]`, recurrent kernel `[H, G·H]` and, if there is one, bias; those of the backward layer
            after those of the forward layer.
        activation: "tanh", or "relu" for a SimpleRNN.
        reset_after: of a GRU, as Keras has it.
        bidirectional, merge_mode: of a `Bidirectional` around it.

    Raises:
        ExportError: weights that do not fit together, or options that no cell of ours has.

    Example:
        >>> import numpy as np
        >>> layer = from_keras_weights("LSTM", [np.zeros((3, 16), "f4"), np.zeros((4, 16), "f4"), np.zeros(16, "f4")])
        >>> layer(torch.zeros(2, 5, 3))[0].shape
        torch.Size([2, 5, 4])
    """
    cell = _cell(kind, activation, reset_after)
    per_direction = len(weights) // (1 + bidirectional)
    if per_direction not in (2, 3) or len(weights) != per_direction * (1 + bidirectional):
        raise ExportError(
            f"a {kind} of Keras has 2 weights, or 3 with a bias, for each direction; found {len(weights)}"
        )
    if merge_mode not in MERGES:
        raise ExportError(f"merge_mode={merge_mode!r} is none of Keras': {', '.join(map(repr, MERGES))}")
    halves = [weights[k : k + per_direction] for k in range(0, len(weights), per_direction)]
    directions = [_named(kind, cell, half, reset_after) for half in halves]
    options = {"merge": MERGES[merge_mode]} if bidirectional else {}
    return layer_of_weights(cell, directions, batch_first=True, **options)


def _options(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Keras layer's configuration decides its equations; the rest is of training and of what is returned."""
    if kind not in GATES:
        raise ExportError(f"Keras' {kind} is not known; there are {', '.join(GATES)}, and Bidirectional around one")
    if config.get("go_backwards"):
        raise ExportError(f"this {kind} has go_backwards=True; a layer of gateflow reads forward, or both ways")
    if kind != "SimpleRNN" and config.get("recurrent_activation") != "sigmoid":
        found = config.get("recurrent_activation")
        raise ExportError(f"this {kind} has recurrent_activation={found!r}; gates of gateflow's are 'sigmoid'")
    options = {"reset_after": bool(config.get("reset_after"))} if kind == "GRU" else {}
    return options | {"activation": config.get("activation")}


def _cell(kind: str, activation: str, reset_after: bool) -> str:
    cells = {("SimpleRNN", "tanh"): "elman", ("SimpleRNN", "relu"): "elman_relu", ("LSTM", "tanh"): "lstm"}
    cells |= {("GRU", "tanh"): "gru" if reset_after else "full_gru"}
    if (kind, activation) not in cells:
        raise ExportError(f"no cell of gateflow is a {kind} with activation={activation!r}")
    return cells[kind, activation]


def _named(kind: str, cell: str, weights: Sequence[Any], reset_after: bool) -> dict[str, Tensor]:
    """The weights of one direction by our names, gates in our order."""
    H, rows = list(getattr(weights[1], "shape", ()))[:1] or [0], GATES[kind]
    wide, double = rows * H[0], kind == "GRU" and reset_after
    kernel = checked(weights[0], (None, wide), f"the kernel of the {kind}")
    recurrent = checked(weights[1], (H[0], wide), f"the recurrent kernel of the {kind}")
    found = {"weight_ih": kernel.t(), "weight_hh": recurrent.t()}
    if len(weights) == 3:
        bias = checked(weights[2], (2, wide) if double else (wide,), f"the bias of the {kind}")
        both = bias if double else torch.stack([bias, torch.zeros_like(bias)])  # Keras has one bias where torch has two
        found |= {"bias_ih": both[0], "bias_hh": both[1]}
    if kind != "GRU":  # one gate, or `i f c o`, which is our order too
        return found
    # `z r h`, as in ONNX, and with the same meaning.
    known = next(each for each in ONNX_EQUIVALENTS if each.cell is (GRU if reset_after else FullGRU))
    return {name: known.unfused(weight) for name, weight in found.items()}
