"""An exponential moving average of the weights: what is validated and kept, while others are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]

# The average forgets faster at first: after n updates its decay is at most (1 + n) / (10 + n), so that the initial
# weights have no part in it for long. The rule of TensorFlow's ExponentialMovingAverage, which its users know.
SOON = 10


class WeightAverage:
    """``a ← d · a + (1 − d) · w`` after each update, with ``d = min(decay, (1 + n) / (10 + n))`` for update n.

    Buffers are not averaged.

    Args:
        model: whose parameters are averaged.
        decay: near 1; about 1 / (1 − decay) updates have a part in the average.

    Source: Polyak, Juditsky (1992). Acceleration of stochastic approximation by averaging. The moving average:
    Kingma, Ba (2015), arXiv:1412.6980, section 7.2.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(model, decay=0.5)
        >>> _ = model.weight.data.add_(1.0)
        >>> average.update(step=100)
        >>> trained = model.weight.item()
        >>> with average.in_place():
        ...     round(trained - model.weight.item(), 6)
        0.5
        >>> model.weight.item() == trained
        True
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = dict(model.named_parameters())  # each once, also where it stands in two places
        self.averages = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after update `step` into the average."""
        decay = min(self.decay, (1 + step) / (SOON + step))
        for name, average in self.averages.items():
            average.lerp_(self.weights[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model has the averaged weights; afterwards its own, to the bit."""
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._copy(self.averages)
        try:
            yield
        finally:
            self._copy(own)

    def state(self) -> dict[str, Tensor]:
        """The averages by the names of their parameters."""
        return dict(self.averages)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; from the weights as they are, where it is empty: averaging has begun only now."""
        for name, average in self.averages.items():
            average.copy_(state[name] if state else self.weights[name])

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        # Into the same memory, and told: a kernel that has packed these weights reads them again.
        for name, weight in self.weights.items():
            weight.copy_(values[name])
