"""Units with a single gate: what is kept and what is written are one decision."""

from typing import Any

from torch import sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["JANET", "STAR", "MinGRU"]


@register("janet")
class JANET(Cell):
    """Just another network: the LSTM with its forget gate alone, which closes for the content `β` later than it opens.

    The authors begin with `remedies.init.chrono`, and with 0 for the other biases.

    Args:
        input_size, hidden_size: as every cell has them.
        beta: by how much the sum of the gate must be larger to shut the content out; 0 couples the two.
        options: `bias`, `device`, `dtype` as every cell has them.

    Example:
        >>> JANET(3, 4).beta, JANET(3, 4, beta=0.0).beta
        (1.0, 0.0)
    """

    states = ("c",)
    gates = ("forget", "content")
    keeps = {"forget": +1}
    equation = """\
s   = W_f c_{t-1} + U_f x_t + b_f
i   = 1 - σ(s - β)
f   = σ(s)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_c c_{t-1} + U_c x_t + b_c)"""
    citation = (
        "van der Westhuizen, Lasenby (2018). The unreasonable effectiveness of the forget gate. arXiv:1804.04849."
    )

    def __init__(self, input_size: int, hidden_size: int, *, beta: float = 1.0, **options: Any):
        # Before `super().__init__`: once it is there, the cell is tried.
        self.beta = beta
        super().__init__(input_size, hidden_size, **options)

    def step(self, x, c):
        s = self.forget(c, x)
        i = 1 - sigmoid(s - self.beta)
        f = sigmoid(s)
        return f * c + i * tanh(self.content(c, x))


@register("star")
class STAR(Cell):
    """The stackable recurrent cell: one gate, and a content that sees the input alone, so that deep stacks train.

    The authors begin with orthogonal matrices (`remedies.init.orthogonal`).

    Example:
        >>> STAR(3, 4).weight_hh.shape, STAR(3, 4).weight_ih.shape
        (torch.Size([4, 4]), torch.Size([8, 3]))
    """

    states = ("h",)
    gates = ("update",)
    inputs = ("content",)
    keeps = {"update": -1}
    equation = """\
k   = σ(W_k h_{t-1} + U_k x_t + b_k)
z   = tanh(U_z x_t + b_z)
h_t = tanh((1 - k) ∘ h_{t-1} + k ∘ z)"""
    citation = (
        "Turkoglu, D'Aronco, Wegner, Schindler (2021). Gating revisited: deep multi-layer RNNs that can be trained. "
        "IEEE TPAMI 44(8), 4081-4092. arXiv:1911.11033."
    )

    def step(self, x, h):
        k = sigmoid(self.update(h, x))
        z = tanh(self.content(x))
        return tanh((1 - k) * h + k * z)


@register("min_gru")
class MinGRU(Cell):
    """The minimal GRU: gate and content see the input alone, and the content is not squashed.

    Example:
        >>> sorted(dict(MinGRU(3, 4).named_parameters()))
        ['bias_ih', 'weight_ih']
    """

    states = ("h",)
    inputs = ("update", "content")
    keeps = {"update": -1}
    equation = """\
z   = σ(U_z x_t + b_z)
h̃   = U_h x_t + b_h
h_t = (1 - z) ∘ h_{t-1} + z ∘ h̃"""
    citation = "Feng, Tung, Ahmed, Bengio, Hajimirsadeghi (2024). Were RNNs all we needed? arXiv:2410.01201."

    def step(self, x, h):
        z = sigmoid(self.update(x))
        n = self.content(x)
        return (1 - z) * h + z * n
