"""What `bench` times: a layer that learns, that infers, that streams; the same layer as an eager loop; torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow.benchmarking.timing import Call
from gateflow.cells import ElmanReLU, ProjectedLSTM
from gateflow.cells.torch_equivalents import TORCH_EQUIVALENTS
from gateflow.layers import Recurrent
from gateflow.recurrence import force_path

Sequences = Tensor | PackedSequence


def training(layer: nn.Module, x: Sequences, cotangent: Tensor) -> Call:
    """Forward and backward; the call returns the gradients, of `x` too, by name."""
    leaf = values(x).requires_grad_()

    def call() -> dict[str, Tensor | None]:
        layer.zero_grad(set_to_none=True)
        # A gradient that is there would be added to, which takes longer than writing it.
        leaf.grad = None
        y = values(layer(x)[0])
        # Under autocast the output is in bfloat16.
        y.backward(cotangent.to(y.dtype))
        return {"x": leaf.grad, **{name: weight.grad for name, weight in layer.named_parameters()}}

    return call


def inference(layer: nn.Module, x: Sequences) -> Call:
    """Forward without a graph; the call returns the output."""

    def call() -> Tensor:
        with torch.no_grad():
            return values(layer(x)[0])

    return call


def streaming(layer: Recurrent, x: Tensor) -> Call:
    """`layer.step` for each `x_t` of `x [T, B, I]`, the state handed on; the call returns the last output."""
    steps = x.unbind(0)

    def call() -> Tensor | None:
        y, state = None, None
        # Weights are frozen for the stream, as a user of single steps would do it.
        with torch.no_grad(), layer.streaming():
            for x_t in steps:
                y, state = layer.step(x_t, state)
        return y

    return call


def on_reference(call: Call) -> Call:
    """The same on the eager loop, whatever faster path there is."""

    def forced() -> Any:
        with force_path("reference"):
            return call()

    return forced


def awaited(call: Call, device: torch.device) -> Call:
    """The same with the end of what it has asked of a GPU; on a CPU itself."""
    if device.type != "cuda":
        return call

    def waited() -> Any:
        found = call()
        torch.cuda.synchronize(device)
        return found

    return waited


def torch_layer(layer: Recurrent, input_size: int, hidden_size: int) -> nn.RNNBase | None:
    """`torch.nn`'s layer with the weights of `layer`, if torch has the cell."""
    # The class itself: a subclass may have other equations. A projection has a size that is not asked for here.
    equivalents = (e for e in TORCH_EQUIVALENTS if e.cell is type(layer.cells[0]) and e.cell is not ProjectedLSTM)
    for equivalent in equivalents:
        options: dict[str, Any] = {"nonlinearity": "relu"} if equivalent.cell is ElmanReLU else {}
        made = equivalent.layer(input_size, hidden_size, **options)
        # The same weights, so that no saturation or subnormal number makes the difference.
        made.load_state_dict(layer.state_dict())
        return made
    return None


def values(x: Sequences) -> Tensor:
    """The numbers of a padded or packed batch."""
    return x.data if isinstance(x, PackedSequence) else x
