"""The multiplicative LSTM: its recurrent matrix is another one for each input."""

from torch import sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["MultiplicativeLSTM"]


@register("multiplicative_lstm")
class MultiplicativeLSTM(Cell):
    """The LSTM whose gates see a product of the input and the hidden state in place of the hidden state.

    Not the mLSTM of xLSTM, whose memory is a matrix.

    Example:
        >>> MultiplicativeLSTM(3, 4).weight_mix.shape
        torch.Size([4, 4])
    """

    states = ("h", "c")
    gates = ("input", "forget", "content", "output")
    inputs = ("factor",)
    matrices = ("mix",)
    keeps = {"forget": +1, "input": -1}
    equation = """\
m   = (U_m x_t + b_m) ∘ (W_m h_{t-1})
i   = σ(W_i m + U_i x_t + b_i)
f   = σ(W_f m + U_f x_t + b_f)
o   = σ(W_o m + U_o x_t + b_o)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_c m + U_c x_t + b_c)
h_t = o ∘ tanh(c_t)"""
    citation = "Krause, Lu, Murray, Renals (2016). Multiplicative LSTM for sequence modelling. arXiv:1609.07959."

    def step(self, x, h, c):
        m = self.factor(x) * self.mix(h)
        i = sigmoid(self.input(m, x))
        f = sigmoid(self.forget(m, x))
        o = sigmoid(self.output(m, x))
        c = f * c + i * tanh(self.content(m, x))
        return o * tanh(c), c
