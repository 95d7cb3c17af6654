"""What torch's tools look for in `torch.nn.RNN`, `GRU` and `LSTM`, answered by a stack; `isinstance` says yes too."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.compiler import when_loaded
from gateflow.layers.attributes import Attributes
from gateflow.layers.stack import Stack

__all__ = ["AsTorch"]


class AsTorch(Stack):
    """A stack that is one of torch's layers as well, without the flat copy of the weights that those keep.

    A drop-in inherits from this, then from torch's class: what torch's class does with its flat copy is undone here,
    what its users and torch's own tools read is here.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # For each subclass, a user's too: torch looks its table up by the exact class.
        when_loaded(lambda: _admit_to_compiler(cls))

    @property
    def all_weights(self) -> list[list[Any]]:
        """The weights of each layer and direction, in torch's order."""
        return [[getattr(self, name) for name in names] for names in self._names]

    @property
    def _all_weights(self) -> list[list[str]]:
        return self._names

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._names for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no flat copy of the weights to keep compact."""

    def reset_parameters(self) -> None:
        """Draws every parameter again from `U(-1/√H, 1/√H)`; under a parametrization that is what it computes from."""
        nn.RNNBase.reset_parameters(self)  # pyright: ignore[reportArgumentType]

    def _init_flat_weights(self) -> None:
        """There is none."""

    def _update_flat_weights(self) -> None:
        """There is none."""

    # torch's own versions of these two keep up its flat copy of the weights.
    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        return nn.Module._apply(self, fn, recurse)

    def _replicate_for_data_parallel(self) -> Any:
        return nn.Module._replicate_for_data_parallel(self)

    def __setattr__(self, name: str, value: Any) -> None:
        Attributes.__setattr__(self, name, value)  # and not what torch's layer does for its flat copy
        if name == "qconfig":
            self._tell_of_quantization()

    def _tell_of_quantization(self) -> None:
        """`torch.ao.quantization` replaces torch's layers by their exact class, so ours would silently stay."""
        kind = type(self).__name__
        warnings.warn(
            f"torch.ao.quantization leaves gateflow.{kind} as it is, in floating point; to quantize it, put "
            f"torch.nn.{kind} with the same arguments in its place and give it this layer's state_dict()",
            stacklevel=3,
        )


def _admit_to_compiler(cls: type) -> None:
    """Lets `torch.compile` look into a class of layers that inherits from torch's.

    It breaks its graph at those, since it would unroll their time, unless `allow_rnn` says otherwise; ours are one
    operator per layer. There is no public way to say so for a class. Where the private one is gone, the graph breaks.
    """
    from torch._dynamo.variables import builder  # loaded by now

    table: Any = getattr(builder.VariableBuilder, "_type_dispatch_impl", None)
    # torch keeps one table for each value of that setting.
    for trace_numpy in (True, False) if table else ():
        table(trace_numpy).setdefault(cls, _wrap)


def _wrap(variables: Any, layer: Any) -> Any:
    with torch._dynamo.config.patch(allow_rnn=True):
        return variables.wrap_module(layer)
