"""The horizon while Hugging Face's Trainer trains: ``Trainer(..., callbacks=[MonitorCallback(every=50)])``."""

from __future__ import annotations

from typing import Any

from gateflow.integrations.watching import Watching, base_class, loss_in, missing

__all__ = ["MonitorCallback"]

TrainerCallback = base_class("transformers", "TrainerCallback")


class MonitorCallback(TrainerCallback):
    """A `gateflow.flow.Monitor` in the Trainer's loop: it logs ``flow/horizon`` and its like, and raises at a NaN.

    The loss is the one that the model returns, as the Trainer takes it by default.

    Args:
        of: the part of the model that is watched; all of it by default.
        options: of `gateflow.flow.Monitor`.

    Attributes:
        watching: has the `history` of the training, as the monitor's.

    Raises:
        ConfigError: transformers is not installed; or, while training, the model returns no loss.
        NonFiniteError: while training, as `Monitor.step`.

    Example:
        >>> trainer = transformers.Trainer(model, args, callbacks=[MonitorCallback(every=50)])  # doctest: +SKIP
    """

    def __init__(self, of: str = "", **options: Any):
        if TrainerCallback is object:
            raise missing("transformers", "transformers")
        super().__init__()
        self.watching = Watching(of, **options)
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """As the Trainer calls it."""
        self.watching.begin(model)
        self._hook = model.register_forward_hook(self._remember)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """As the Trainer calls it: gradients are there, and clipped."""

        def tell(figures: dict[str, float], step: int) -> None:
            # Into the same list and in the same form as the Trainer's own; its loggers read it from there.
            state.log_history.append({**figures, "step": state.global_step + 1, "epoch": state.epoch})

        self.watching.step(self.watching.loss, tell)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """As the Trainer calls it."""
        self.watching.end()
        self._hook.remove()

    def _remember(self, module: Any, inputs: Any, output: Any) -> None:
        if module.training:
            self.watching.loss = loss_in(output)
