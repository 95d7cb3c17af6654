"""The LSTM with exponential gates."""

from torch import exp, maximum, sigmoid, tanh, where
from torch.nn.functional import logsigmoid

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["SLSTM"]


@register("slstm")
class SLSTM(Cell):
    """The scalar LSTM of xLSTM, one head: an exponential input gate, and a memory that is divided by what was written.

    `m` is the logarithm of the scale in which `c` and `n` are kept, so that no exponential overflows; it cancels in
    `c_t / n_t`. The forget gate is a sigmoid, the first of the paper's two choices and that of its authors' code.

    Example:
        >>> SLSTM(3, 4).states
        ('h', 'c', 'n', 'm')
    """

    states = ("h", "c", "n", "m")
    gates = ("input", "forget", "content", "output")
    keeps = {"forget": +1, "input": -1}
    equation = """\
ĩ   = W_i h_{t-1} + U_i x_t + b_i
f̃   = log σ(W_f h_{t-1} + U_f x_t + b_f) + m_{t-1}
m_t = max(f̃, ĩ), or ĩ where nothing was written yet (n_{t-1} = 0)
i   = exp(ĩ - m_t)
f   = exp(f̃ - m_t)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_z h_{t-1} + U_z x_t + b_z)
n_t = f ∘ n_{t-1} + i
o   = σ(W_o h_{t-1} + U_o x_t + b_o)
h_t = o ∘ c_t / n_t"""
    citation = (
        "Beck, Pöppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, Hochreiter (2024). xLSTM: extended "
        "long short-term memory. NeurIPS. arXiv:2405.04517, Section 2.2 and Appendix A.2."
    )

    def step(self, x, h, c, n, m):
        log_i = self.input(h, x)
        log_f = logsigmoid(self.forget(h, x)) + m
        m = where(n == 0, log_i, maximum(log_f, log_i))
        i = exp(log_i - m)
        # At most 1 but in the first step, where it meets zeros, and must not be infinite.
        f = exp((log_f - m).clamp(max=0))
        c = f * c + i * tanh(self.content(h, x))
        n = f * n + i
        o = sigmoid(self.output(h, x))
        return o * c / n, c, n, m
