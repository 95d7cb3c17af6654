"""The horizon while skorch trains: ``NeuralNet(..., callbacks=[MonitorCallback(every=50)])``."""

from __future__ import annotations

from typing import Any

from gateflow.integrations.watching import Watching, base_class, loss_in, missing

__all__ = ["MonitorCallback"]

Callback = base_class("skorch.callbacks", "Callback")


class MonitorCallback(Callback):
    """A `gateflow.flow.Monitor` in skorch's loop: ``net.history`` has ``flow/horizon`` and its like; it raises at NaN.

    Args:
        of: the part of the module that is watched; all of it by default.
        options: of `gateflow.flow.Monitor`.

    Attributes:
        watching: has the `history` of the training, as the monitor's.

    Raises:
        ConfigError: skorch is not installed.
        NonFiniteError: while training, as `Monitor.step`.

    Example:
        >>> net = skorch.NeuralNetRegressor(Model, callbacks=[MonitorCallback(every=50)])  # doctest: +SKIP
    """

    def __init__(self, of: str = "", **options: Any):
        if Callback is object:
            raise missing("skorch", "skorch")
        super().__init__()
        self.of, self.options = of, options
        self.watching = Watching(of, **options)
        self._hook: Any = None

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """As skorch calls it."""
        self.watching.begin(net.module_)
        self._hook = net.criterion_.register_forward_hook(self._remember)

    def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:
        """As skorch calls it: gradients are there, and the optimizer has not stepped."""

        def tell(figures: dict[str, float], step: int) -> None:
            for name, value in figures.items():
                net.history.record_batch(name, value)

        self.watching.step(self.watching.loss, tell)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """As skorch calls it."""
        self.watching.end()
        self._hook.remove()

    def _remember(self, module: Any, inputs: Any, output: Any) -> None:
        self.watching.loss = loss_in(output)
