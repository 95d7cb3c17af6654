"""The horizon while Lightning trains: ``Trainer(callbacks=[MonitorCallback(every=50)])``."""

from __future__ import annotations

from typing import Any

from gateflow.integrations.watching import Watching, base_class, missing

__all__ = ["MonitorCallback"]

Callback = base_class("lightning.pytorch", "Callback")


class MonitorCallback(Callback):
    """A `gateflow.flow.Monitor` in Lightning's loop: it logs ``flow/horizon`` and its like, and raises at a NaN.

    Args:
        of: the part of the LightningModule whose calls are watched, such as ``"model"`` where `training_step` calls
            ``self.model(x)``; itself, for ``self(x)``, by default.
        options: of `gateflow.flow.Monitor`.

    Attributes:
        watching: has the `history` of the training, as the monitor's.

    Raises:
        ConfigError: Lightning is not installed.
        NonFiniteError: while training, as `Monitor.step`.

    Example:
        >>> trainer = lightning.Trainer(callbacks=[MonitorCallback("model", every=50)])  # doctest: +SKIP
    """

    def __init__(self, of: str = "", **options: Any):
        if Callback is object:
            raise missing("lightning", "lightning")
        super().__init__()
        self.watching = Watching(of, **options)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """As Lightning calls it."""
        self.watching.begin(pl_module)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """As Lightning calls it."""
        # Divided by the batches of an update where there are several, as it is differentiated.
        self.watching.loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """As Lightning calls it: gradients are there, unscaled and not yet clipped."""
        self.watching.step(self.watching.loss, lambda figures, step: pl_module.log_dict(figures))

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """As Lightning calls it, after an error too."""
        self.watching.end()
