"""What can be set on a layer that is built: what torch obeys is obeyed, what weights were made by is refused."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import nn

from gateflow.errors import FixedAttributeError
from gateflow.layers.options import Options

__all__ = ["Attributes"]

# These decided which weights there are, and their shapes.
_BUILT_IN = ("bias", "bidirectional", "merge", "skip", "learn_initial_state")


def _option(name: str) -> Any:
    """A property that reads one of the layer's options."""

    def read(layer: Any) -> Any:
        given = vars(layer)["_modules"]  # a subclass may call a module of its own `dropout`
        return given[name] if name in given else getattr(layer.options, name)

    return property(read)


class Attributes(nn.Module):
    """The attributes of a layer: its options, each obeyed from the next call on, and its sizes, which stand.

    Attributes:
        options: what the layer does around its cells. Rates, `memory` and `strict` may be replaced at any time, here or
            one by one as attributes of the layer; what weights were built by, such as `bidirectional`, may not.
    """

    options: Options
    bidirectional: bool
    bias: Any = _option("bias")
    merge: Any = _option("merge")
    skip: Any = _option("skip")
    dropout: Any = _option("dropout")
    variational_dropout: Any = _option("variational_dropout")
    weight_dropout: Any = _option("weight_dropout")
    zoneout: Any = _option("zoneout")
    learn_initial_state: Any = _option("learn_initial_state")
    memory: Any = _option("memory")
    strict: Any = _option("strict")

    _fixed: ClassVar[frozenset[str]] = frozenset(
        {"input_size", "num_layers", "num_directions", "output_size", "bidirectional"}
    )

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self)
        if name in self._fixed:
            _refuse_another(self, name, held.get(name, value), value)
        elif name == "options" and name in held:
            self._refuse_other_options(value)
        # By `replace`, which runs the checks of `Options` before anything has changed.
        elif name in Options.__dataclass_fields__ and "options" in held and not isinstance(value, nn.Module):
            name, value = "options", dataclasses.replace(self.options, **{name: value})
            self._refuse_other_options(value)
        nn.Module.__setattr__(self, name, value)

    def _refuse_other_options(self, options: Options) -> None:
        for name in _BUILT_IN:
            _refuse_another(self, name, getattr(self.options, name), getattr(options, name))
        self._check_options(options)

    def _check_options(self, options: Options) -> None:
        """Refuses options that do not fit the cells."""


def _refuse_another(layer: nn.Module, name: str, old: Any, new: Any) -> None:
    # Types as well: `True == 1`, and a size of `True` would pass.
    if type(new) is not type(old) or new != old:
        raise FixedAttributeError(
            f"{type(layer).__name__}.{name} cannot become {new!r}: the layer was built with {old!r}, and its weights "
            f"and equations stay what they are; build a layer with {name}={new!r} instead"
        )
