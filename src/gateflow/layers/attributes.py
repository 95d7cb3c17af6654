"""What can be set on a layer that is built: what torch obeys is obeyed, what weights were made by is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from gateflow.errors import FixedAttributeError
from gateflow.layers.options import Options

__all__ = ["Attributes", "fixed"]

_BUILT_IN = ("bias", "bidirectional", "merge", "skip", "learn_initial_state")


def fixed(name: str) -> Any:
    """A property that is set once, while the layer is built; after that only to what it is."""

    def read(layer: nn.Module) -> Any:
        return _found(layer, name)

    def write(layer: nn.Module, value: Any) -> None:
        if name in vars(layer):
            _refuse_another(layer, name, vars(layer)[name], value)
        else:
            vars(layer)[name] = value

    return property(read, write)


def _option(name: str) -> Any:
    """A property that reads one of `options`, and puts another value there."""

    def read(layer: Any) -> Any:
        given = vars(layer)["_modules"]  # a subclass may call a module of its own `dropout`
        return given[name] if name in given else getattr(layer.options, name)

    def write(layer: Any, value: Any) -> None:
        layer.options = dataclasses.replace(layer.options, **{name: value})

    return property(read, write)


class Attributes(nn.Module):
    """The attributes of a layer: its options, each obeyed from the next call on, and its sizes, which stand."""

    bias: Any = _option("bias")
    bidirectional: Any = _option("bidirectional")
    merge: Any = _option("merge")
    skip: Any = _option("skip")
    dropout: Any = _option("dropout")
    variational_dropout: Any = _option("variational_dropout")
    weight_dropout: Any = _option("weight_dropout")
    zoneout: Any = _option("zoneout")
    learn_initial_state: Any = _option("learn_initial_state")
    memory: Any = _option("memory")
    strict: Any = _option("strict")

    input_size: Any = fixed("input_size")
    num_layers: Any = fixed("num_layers")
    num_directions: Any = fixed("num_directions")
    output_size: Any = fixed("output_size")

    @property
    def options(self) -> Options:
        """What the layer does around its cells. Rates, `memory` and `strict` may be replaced at any time.

        Raises:
            ConfigError: the new options cannot work.
            FixedAttributeError: they differ in what weights were built by, such as `bidirectional`.
        """
        return _found(self, "_options")

    @options.setter
    def options(self, new: Options) -> None:
        old = vars(self).get("_options")
        if old is not None:
            for name in _BUILT_IN:
                _refuse_another(self, name, getattr(old, name), getattr(new, name))
            self._check_options(new)
        vars(self)["_options"] = new

    def _check_options(self, options: Options) -> None:
        """Refuses options that do not fit the cells."""


def _found(layer: nn.Module, name: str) -> Any:
    if name not in vars(layer):
        raise AttributeError(f"{type(layer).__name__} has no {name!r} yet; call super().__init__() first")
    return vars(layer)[name]


def _refuse_another(layer: nn.Module, name: str, old: Any, new: Any) -> None:
    if type(new) is not type(old) or new != old:
        raise FixedAttributeError(
            f"{type(layer).__name__}.{name} cannot become {new!r}: the layer was built with {old!r}, and its weights "
            f"and equations stay what they are; build a layer with {name}={new!r} instead"
        )
