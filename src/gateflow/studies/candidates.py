"""What `gateflow remedies` trains side by side: a cell, its initial weights, clipping and a penalty, under one name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from gateflow.layers import Recurrent
from gateflow.remedies.initial_weights import Initialiser
from gateflow.studies.memory import MemoryTask
from gateflow.studies.memory_training import Reader
from gateflow.training.omega import omega

__all__ = ["CATALOGUES", "INITIAL_CANDIDATES", "REMEDIES", "Candidate"]


@dataclass(frozen=True)
class Candidate:
    """One way to train a recurrent layer on a task of memory. Left at its defaults: a plain tanh RNN.

    Args:
        name: as the table shows it.
        cell: a cell's name.
        weights: initial weights as ``--init`` takes them; ``chrono:T`` stands for the length of the task.
        clip: the largest norm of the gradient; infinity for no clipping.
        omega: factor of Ω in the loss; 0 for none.

    Example:
        >>> Candidate("IRNN", "elman_relu", "identity").clip
        inf
    """

    name: str
    cell: str = "elman"
    weights: str = ""
    clip: float = math.inf
    omega: float = 0.0

    def options(self, task: MemoryTask) -> dict[str, Any]:
        """What `train_memory` is told about this candidate, apart from its cell."""
        options: dict[str, Any] = {"clip_norm": self.clip, "init": partial(self.draw, task=task)}
        return options | ({"penalty": partial(self.penalty, task=task)} if self.omega else {})

    def draw(self, layer: Recurrent, task: MemoryTask) -> None:
        """Overwrite the layer's initial weights, where the candidate has its own."""
        if self.weights:
            # The length of the task is known only when the candidate is trained.
            Initialiser.parse(self.weights.replace(":T", f":{task.steps}")).apply(layer)

    def penalty(self, model: Reader, inputs: Tensor, targets: Tensor, task: MemoryTask) -> Tensor:
        """Ω of the task's loss, times its factor."""
        return self.omega * omega(model, inputs, lambda model, x: task.loss(model(x), targets))


# A tanh RNN without clipping, then each remedy alone. Ω has the factor of Pascanu et al. (2013).
REMEDIES = (
    Candidate("plain RNN"),
    Candidate("orthogonal W", weights="orthogonal"),
    Candidate("identity W", weights="identity"),
    Candidate("Ω", omega=4.0),
    Candidate("ReLU", cell="elman_relu"),
    Candidate("identity W + ReLU (IRNN)", cell="elman_relu", weights="identity"),
    Candidate("clipping", clip=1.0),
    Candidate("GRU", cell="gru"),
    Candidate("LSTM", cell="lstm"),
    Candidate("LSTM, chrono", cell="lstm", weights="chrono:T"),
)

# Nine ways to begin, all else equal: the gradient is clipped at 1.
INITIAL_CANDIDATES = (
    Candidate("LSTM, default", cell="lstm", clip=1.0),
    *(Candidate(f"LSTM, forget bias {b}", cell="lstm", weights=f"forget:{b}", clip=1.0) for b in (0, 1, 2, 4)),
    Candidate("LSTM, chrono", cell="lstm", weights="chrono:T", clip=1.0),
    Candidate("RNN, default", clip=1.0),
    Candidate("RNN, orthogonal", weights="orthogonal", clip=1.0),
    Candidate("IRNN", cell="elman_relu", weights="identity", clip=1.0),
)

# What ``gateflow remedies --of`` names.
CATALOGUES = {"remedies": REMEDIES, "initial-weights": INITIAL_CANDIDATES}
