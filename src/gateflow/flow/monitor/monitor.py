"""Watches a training run: the horizon with the loss, and the first number that is not finite."""

from __future__ import annotations

import inspect
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, FlowError, FlowWarning, NonFiniteError
from gateflow.flow.capture import Loss, without_autocast
from gateflow.flow.monitor.curves import Curves
from gateflow.flow.monitor.nonfinite_origin import in_words, origin_of
from gateflow.flow.monitor.snapshot import random_state, random_state_of, restore, save
from gateflow.flow.reach import Reach, reach
from gateflow.flow.rules.training_curve import collapsed
from gateflow.layers import cells_in
from gateflow.layers.evaluating import evaluating

__all__ = ["Monitor", "restore"]


class Monitor:
    """Tracks how far the gradient reaches while a model trains, at a small and bounded share of the time.

    Call `step(loss)` after `loss.backward()`, before `optimizer.step()`. At the first step and every `every` steps, but
    never so often that it takes more than `budget` of the time, it measures `reach` for a few targets on the batch at
    hand, in eval mode, and takes down a record. On the first loss or gradient of a recurrent weight that is not finite
    it saves the step and raises. The horizon opens before the loss moves, and its collapse comes before the loss stands
    still: a `FlowWarning` says, once, that two measurements in a row found a third or less of the longest one so far,
    from 10 steps or more.

    Args:
        model: the one that is called in the loop; its inputs are kept from one call to the next.
        every: steps between two measurements, at least.
        loss: `loss(model, batch)` as for `reach`, for batches given to `step`. Without it the model's first output, in
            random directions.
        needed_lag: lag at which reach is taken down as `left`.
        writer: a TensorBoard `SummaryWriter`, or a folder for one.
        targets: time steps whose gradients are followed.
        budget: largest share of the time; 1 for every measurement that is due.
        folder: where a step that is not finite is saved; what is there is replaced.
        non_finite: "raise" at the first such step; or "warn", and take it down, for a loop that skips it (as
            `NormClipper` does) and goes on. Later ones are not looked into.
        clock: what time is measured by.

    Attributes:
        curves: what goes to TensorBoard, with the heatmap of decay over the run.
        history: records with `step`, `loss`, `horizon`, the `longest` that the batch has room for, per layer
            `horizon/…`, `left`, and the monitor's `share` of the time; `skipped` says why there is no horizon,
            `warning` what was warned of.
        steps: counted so far; set it where a loop goes on from a checkpoint.

    Not for float16 with a `GradScaler`, whose first gradients overflow on purpose. Reading the loss waits for a GPU.

    Raises:
        ConfigError: an option out of range, or TensorBoard is not installed.
        NonFiniteError: by `step`.

    Cost: counted in multiplications of matrices, a measurement is about two training steps, and the
    check of each step reads the loss and the recurrent weights' gradients once. The first measurement is made whatever
    it costs, so a short run may end above the budget. It is made twice: the first time builds kernels, and that time
    counts neither as the monitor's nor as the training's.

    Source: reach: Pascanu, Mikolov, Bengio (2013). arXiv:1211.5063.

    Example:
        >>> model, batch = nn.LSTM(3, 8), torch.randn(20, 2, 3)
        >>> monitor = Monitor(model, every=2, budget=1.0)
        >>> for _ in range(2):
        ...     loss = model(batch)[0].square().mean()
        ...     loss.backward()
        ...     monitor.step(loss)
        >>> [record["step"] for record in monitor.history], monitor.history[0]["horizon"] > 0
        ([1, 2], True)
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 100,
        *,
        loss: Loss | None = None,
        needed_lag: int | None = None,
        writer: Any = None,
        targets: int = 4,
        budget: float = 0.02,
        folder: str | Path = "non_finite_step",
        non_finite: Literal["raise", "warn"] = "raise",
        clock: Callable[[], float] = time.perf_counter,
    ):
        if every < 1 or targets < 1 or not 0 < budget <= 1 or (needed_lag is not None and needed_lag < 1):
            raise ConfigError(
                "Monitor needs every, targets and needed_lag of at least 1, and a budget above 0 and up to 1; got "
                f"every={every}, targets={targets}, needed_lag={needed_lag}, budget={budget}"
            )
        if non_finite not in ("raise", "warn"):
            raise ConfigError(f"Monitor's non_finite is 'raise' or 'warn', not {non_finite!r}")
        self.model, self.every, self.loss, self.needed_lag = model, every, loss, needed_lag
        self.targets, self.budget, self.folder, self.clock = targets, budget, Path(folder), clock
        self.non_finite, self._broke, self._collapsed = non_finite, False, False
        self.curves = Curves(writer)
        self.history: list[dict[str, Any]] = []
        self.steps = 0
        self._began, self._spent, self._cost, self._warm = clock(), 0.0, 0.0, False
        self._inputs: Any = None
        self._generators: dict[str, Tensor] = {}
        self._watched = _recurrent_weights(model)
        self._hook = model.register_forward_pre_hook(self._remember, with_kwargs=True)

    def step(self, loss: Tensor | float, batch: Any = None) -> None:
        """Counts a step, checks it, and measures if it is due.

        Args:
            loss: of this step.
            batch: what `loss(model, batch)` takes, if the monitor was given one.

        Raises:
            NonFiniteError: the loss or a gradient of a recurrent weight is NaN or infinite. The message names where it
                arose, and the folder from which `flow.restore(folder, model)` runs the step again.
        """
        self.steps += 1
        # Reading the loss waits for a GPU, once per step: no NaN
        # could be found before the optimizer steps otherwise.
        value = float(loss.detach() if isinstance(loss, Tensor) else loss)
        if (batch is None) != (self.loss is None):
            raise ConfigError("step(loss, batch) needs the batch if, and only if, Monitor was given loss=")
        batch = self._inputs if batch is None else batch
        self._generators, generators = {}, self._generators
        if not math.isfinite(value) or not self._gradients_are_finite():
            self._stop(value, batch, generators)
        elif batch is not None and self._due():
            if not self._warm:
                self.warm_up(batch)
            began = self.clock()
            self._measure(value, batch)
            self._cost = self.clock() - began
            self._spent += self._cost
            self.history[-1]["share"] = self._spent / (self.clock() - self._began)
            self._generators = {}  # its own forward pass was none of the training's
            self._warn_of_collapse()

    def warm_up(self, batch: Any = None) -> None:
        """Measures once for nothing, so that kernels are built, and starts the clock that the budget is counted by.

        The first measurement does it by itself. A loop that times its steps calls this before the first of them, after
        a forward pass.

        Args:
            batch: what `loss(model, batch)` takes; without a loss the last inputs of the model are taken.
        """
        self._measure(math.nan, self._inputs if batch is None else batch)
        self.history.pop()
        self._generators, self._warm, self._began = {}, True, self.clock()

    def close(self) -> None:
        """Takes its hook off the model and lets the last inputs go."""
        self._hook.remove()
        self._inputs = None

    def _remember(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each forward pass with gradients; random state as the first of a step found it."""
        if torch.is_grad_enabled():
            named = inspect.signature(module.forward).bind(*args, **kwargs).arguments if kwargs else None
            self._inputs = args if named is None else dict(named)
            self._generators = self._generators or random_state(module)

    def _due(self) -> bool:
        """Whether this step is one to measure, and another measurement like the last stays within the budget."""
        if not self.history:
            return self.steps == 1 or self.steps % self.every == 0
        # The next measurement is taken to cost what the last one did, and is asked for
        # beforehand: a budget that is checked afterwards has been exceeded already.
        again = self.steps % self.every == 0 and self.history[-1]["step"] != self.steps
        return again and self._spent + self._cost <= self.budget * (self.clock() - self._began + self._cost)

    def _gradients_are_finite(self) -> bool:
        grads = [w.grad for w in self._watched if w.grad is not None]
        sums = [g.sum().float() for g in grads]  # quicker than a look at each; NaN and infinity stay in a sum
        return not sums or bool(torch.stack(sums).isfinite().all()) or all(bool(g.isfinite().all()) for g in grads)

    def _measure(self, value: float, batch: Any) -> None:
        record: dict[str, Any] = {"step": self.steps, "loss": value}
        try:
            # In eval mode: dropout's masks of a step would make
            # the horizon jump from one measurement to the next.
            with evaluating(self.model), without_autocast(self.model):
                found = reach(self.model, batch, self.loss, targets=self.targets, seed=self.steps)
            record |= self._figures(found)
            if self._warm:
                self.curves.add(record, found)
        # A batch on which nothing can be measured (sequences
        # of one step, say) must not end anybody's training.
        except (FlowError, NonFiniteError) as error:
            record["skipped"] = str(error)
        self.history.append(record)

    def _figures(self, found: Reach) -> dict[str, Any]:
        longest = max(len(layer.decay.values) for layer in found.layers.values()) - 1
        figures: dict[str, Any] = {"horizon": found.horizon, "longest": longest}
        figures |= {f"horizon/{name}": layer.horizon for name, layer in found.layers.items()}
        if self.needed_lag is not None:
            left = [x for layer in found.layers.values() if not math.isnan(x := layer.left_at(self.needed_lag))]
            figures["left"] = max(left, default=None)
        return figures

    def _warn_of_collapse(self) -> None:
        horizons = [record["horizon"] for record in self.history if "horizon" in record]
        if self._collapsed or not collapsed(horizons):
            return
        self._collapsed = True
        self._warn(
            self.history[-1],
            f"step {self.steps}: the gradient's horizon was {max(horizons)} steps and is {horizons[-1]} now; the loss "
            "may stand still next. Lower the learning rate, or begin with chrono initial weights unless it did; "
            "gateflow.flow.diagnose shows what happened",
        )

    def _warn(self, record: dict[str, Any], text: str) -> None:
        record["warning"] = text
        warnings.warn(text, FlowWarning, stacklevel=4)

    def _stop(self, value: float, batch: Any, generators: dict[str, Tensor]) -> None:
        if self._broke:
            return
        self._broke = self.non_finite == "warn"
        origin: dict[str, Any] = {"what": "loss"}
        if batch is not None:
            with random_state_of(self.model, generators):
                origin = origin_of(self.model, batch, self.loss, math.isfinite(value))
        folder = save(self.folder, self.model, batch, generators, {"step": self.steps, "loss": repr(value), **origin})
        text = (
            f"step {self.steps}: {in_words(origin, value)}. Weights, batch and random state are in {folder}: "
            "gateflow.flow.restore(folder, model) brings them back. The optimizer has not stepped; lower the learning "
            "rate or clip, and look for log(0) and 0/0"
        )
        if self.non_finite == "raise":
            raise NonFiniteError(text)
        self.history.append({"step": self.steps, "loss": value})
        self._warn(self.history[-1], text)


def _recurrent_weights(model: nn.Module) -> list[nn.Parameter]:
    # Cells of torch's called in a loop are not found by `cells_in`; then all gradients are looked at.
    try:
        return [w for cell in cells_in(model).values() for w in cell._parameters.values() if w is not None]
    except ConfigError:
        return list(model.parameters())
