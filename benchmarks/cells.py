"""The cells that are measured, with what torch has of them, and a cell as a user would write one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn, sigmoid, tanh
from torch.nn.functional import softplus

from gateflow import Cell


# No library has a kernel for it, which is the point.
class UserCell(Cell):
    """A gated unit whose update gate sees the memory, and whose content is damped by a positive amount."""

    states = ("c",)
    gates = ("update", "damping", "content")
    diagonals = ("peephole",)
    equation = """\
u   = σ(W_u c_{t-1} + U_u x_t + p ∘ c_{t-1} + b_u)
d   = log(1 + exp(W_d c_{t-1} + U_d x_t + b_d))
c̃   = tanh(W_c c_{t-1} + U_c x_t + b_c) / (1 + d)
c_t = u ∘ c̃ + (1 - u) ∘ c_{t-1}"""

    def step(self, x, c):
        u = sigmoid(self.update(c, x) + self.peephole * c)
        d = softplus(self.damping(c, x))
        n = tanh(self.content(c, x)) / (1 + d)
        return u * n + (1 - u) * c


class Subject(NamedTuple):
    """A cell of ours; torch's layer and single step of the same equations, or `kin` with other ones."""

    cell: str | type[Cell]
    layer: Callable[[int, int], nn.Module] | None = None
    one_step: Callable[[int, int], nn.Module] | None = None
    kin: bool = False


CELLS = {
    "rnn": Subject("elman", nn.RNN, nn.RNNCell),
    "gru": Subject("gru", nn.GRU, nn.GRUCell),
    "full_gru": Subject("full_gru", nn.GRU, nn.GRUCell, kin=True),
    "lstm": Subject("lstm", nn.LSTM, nn.LSTMCell),
    "peephole_lstm": Subject("peephole_lstm", nn.LSTM, nn.LSTMCell, kin=True),
    "layernorm_lstm": Subject("layernorm_lstm"),
    "user": Subject(UserCell),
}
