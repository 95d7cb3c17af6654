"""What the callbacks of other libraries have in common: a `flow.Monitor` on a model that another loop trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from gateflow.errors import ConfigError
from gateflow.flow import Monitor

__all__ = ["Watching", "base_class", "loss_in", "missing"]


class Watching:
    """A monitor from the begin of a training to its end, and what of it has been told.

    Args:
        of: name of the part of the model that is watched, such as ``"encoder"``; all of it by default. It must be the
            module that the loop calls, since its inputs are looked at.
        options: of `gateflow.flow.Monitor`, such as ``every=50`` or ``needed_lag=30``.
    """

    def __init__(self, of: str = "", **options: Any):
        self.of, self.options = of, options
        self.monitor: Monitor | None = None
        self.history: list[dict[str, Any]] = []
        self.loss: Tensor | None = None
        self._told = 0

    def begin(self, model: nn.Module) -> None:
        """A training begins; what a former one has left is forgotten."""
        self.monitor = Monitor(model.get_submodule(self.of), **self.options)
        self.history, self.loss, self._told = self.monitor.history, None, 0

    def step(self, loss: Tensor | float | None, tell: Callable[[dict[str, float], int], None]) -> None:
        """Gradients are there and the optimizer has not stepped; `tell` gets what was measured, if anything was.

        Raises:
            NonFiniteError: the loss or a gradient of a recurrent weight is NaN or infinite.
            ConfigError: there is no loss.
        """
        if self.monitor is None:
            return
        if loss is None:
            raise ConfigError("no loss was seen: the model's output, or the criterion's, has to hold it.")
        self.monitor.step(loss)
        for record in self.history[self._told :]:
            known = {name: float(x) for name, x in record.items() if isinstance(x, int | float) and name != "step"}
            tell({f"flow/{name}": x for name, x in known.items()}, record["step"])
        self._told = len(self.history)

    def end(self) -> None:
        """The training has ended; its history stays."""
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None


def loss_in(output: Any) -> Tensor | None:
    """The loss in what a model or a criterion returns: by its name, as a single number, or as the first of several.

    Example:
        >>> import torch
        >>> loss_in({"logits": torch.ones(3), "loss": torch.tensor(2.0)}), loss_in(torch.ones(3))
        (tensor(2.), None)
    """
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", output)
    found = found[0] if isinstance(found, tuple | list) and found else found
    return found.detach() if isinstance(found, Tensor) and found.dim() == 0 else None


def base_class(module: str, name: str) -> Any:
    """What a callback of a library derives from; `object` where the library is not installed.

    Example:
        >>> base_class("fractions", "Fraction"), base_class("no_such_library", "Callback")
        (<class 'fractions.Fraction'>, <class 'object'>)
    """
    try:
        return getattr(import_module(module), name)
    except ImportError:
        return object


def missing(library: str, extra: str) -> ConfigError:
    """What is said where the library of a callback is not installed."""
    return ConfigError(f"this callback needs {library}: pip install 'gateflow[{extra}]'.")
