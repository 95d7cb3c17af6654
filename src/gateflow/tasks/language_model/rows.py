"""A step of a language model for rows whose number changes from call to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gateflow.decoding.states import select
from gateflow.tasks.language_model.model import LanguageModel

__all__ = ["step"]

ROWS = 32
"""Rows are filled up to a multiple of it: a step for a new number of rows takes five times as long."""


def step(model: LanguageModel, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Read a token per row, `[R]`: what the output layer sees, and the new state."""
    rows = len(tokens)
    # The layers prepare for each number of rows, and here there are others at each call.
    index = torch.arange(-(-rows // ROWS) * ROWS).clamp(max=rows - 1)
    output, new = model.layers.step(model.embedding(select(tokens, index)), select(state, index))
    return model.projection(output[:rows]), [tuple(part[:rows] for part in parts) for parts in new]
