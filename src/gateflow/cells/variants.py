"""The eight variants of the peephole LSTM that Greff et al. compared, each as a user would write it.

They take the vanilla LSTM with peepholes (`gateflow.cells.PeepholeLSTM`) and change one thing. In 5 400 runs none was
significantly better than it; the forget gate and the output activation were what could not be left out.
"""

from torch import sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["CIFG", "FGR", "NFG", "NIAF", "NIG", "NOAF", "NOG", "NP"]

_GREFF = (
    "Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber (2017). LSTM: a search space odyssey. IEEE TNNLS 28(10), "
    "2222-2232. arXiv:1503.04069."
)


@register("nig")
class NIG(Cell):
    """No input gate: everything is written.

    Example:
        >>> NIG(3, 4).gates
        ('forget', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("forget", "content", "output")
    # Greff et al. start from the LSTM with peepholes: a gate that is gone takes its peephole along.
    diagonals = ("peephole_forget", "peephole_output")
    keeps = {"forget": +1}
    equation = """\
f   = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + b_f)
c_t = f ∘ c_{t-1} + tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        f = sigmoid(self.forget(h, x) + self.peephole_forget * c)
        c = f * c + tanh(self.content(h, x))
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * tanh(c), c


@register("nfg")
class NFG(Cell):
    """No forget gate: everything is kept.

    Example:
        >>> NFG(3, 4).gates
        ('input', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("input", "content", "output")
    diagonals = ("peephole_input", "peephole_output")
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
c_t = c_{t-1} + i ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        c = c + i * tanh(self.content(h, x))
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * tanh(c), c


@register("nog")
class NOG(Cell):
    """No output gate: everything is read.

    Example:
        >>> NOG(3, 4).gates
        ('input', 'forget', 'content')
    """

    states = ("h", "c")
    gates = ("input", "forget", "content")
    diagonals = ("peephole_input", "peephole_forget")
    keeps = {"forget": +1, "input": -1}
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + b_f)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
h_t = tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        f = sigmoid(self.forget(h, x) + self.peephole_forget * c)
        c = f * c + i * tanh(self.content(h, x))
        return tanh(c), c


@register("niaf")
class NIAF(Cell):
    """No input activation function: what is written is not squashed.

    Example:
        >>> NIAF(3, 4).gates
        ('input', 'forget', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("input", "forget", "content", "output")
    diagonals = ("peephole_input", "peephole_forget", "peephole_output")
    keeps = {"forget": +1, "input": -1}
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + b_f)
c_t = f ∘ c_{t-1} + i ∘ (W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        f = sigmoid(self.forget(h, x) + self.peephole_forget * c)
        c = f * c + i * self.content(h, x)
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * tanh(c), c


@register("noaf")
class NOAF(Cell):
    """No output activation function: what is read is not squashed.

    Example:
        >>> NOAF(3, 4).gates
        ('input', 'forget', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("input", "forget", "content", "output")
    diagonals = ("peephole_input", "peephole_forget", "peephole_output")
    keeps = {"forget": +1, "input": -1}
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + b_f)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ c_t"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        f = sigmoid(self.forget(h, x) + self.peephole_forget * c)
        c = f * c + i * tanh(self.content(h, x))
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * c, c


@register("cifg")
class CIFG(Cell):
    """Coupled input and forget gate, with peepholes: what is written is what is forgotten.

    Example:
        >>> CIFG(3, 4).gates
        ('input', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("input", "content", "output")
    diagonals = ("peephole_input", "peephole_output")
    keeps = {"input": -1}
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
c_t = (1 - i) ∘ c_{t-1} + i ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        c = (1 - i) * c + i * tanh(self.content(h, x))
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * tanh(c), c


@register("np")
class NP(Cell):
    """No peepholes: the same equations as `gateflow.cells.LSTM`, kept as its own row of the comparison.

    Example:
        >>> NP(3, 4).diagonals
        ()
    """

    states = ("h", "c")
    gates = ("input", "forget", "content", "output")
    keeps = {"forget": +1, "input": -1}
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + b_f)
c_t = f ∘ c_{t-1} + i ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x))
        f = sigmoid(self.forget(h, x))
        c = f * c + i * tanh(self.content(h, x))
        o = sigmoid(self.output(h, x))
        return o * tanh(c), c


@register("fgr")
class FGR(Cell):
    """Full gate recurrence: each gate also sees all three gates of the step before.

    Example:
        >>> FGR(3, 4).states
        ('h', 'c', 'i', 'f', 'o')
    """

    states = ("h", "c", "i", "f", "o")
    gates = ("input", "forget", "content", "output")
    # `xy` is R_xy of the equation; `if` is a keyword of Python.
    matrices = ("ii", "fi", "oi", "if_", "ff", "of", "io", "fo", "oo")
    diagonals = ("peephole_input", "peephole_forget", "peephole_output")
    keeps = {"forget": +1, "input": -1}
    equation = """\
i_t = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + R_ii i_{t-1} + R_fi f_{t-1} + R_oi o_{t-1} + b_i)
f_t = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + R_if i_{t-1} + R_ff f_{t-1} + R_of o_{t-1} + b_f)
c_t = f_t ∘ c_{t-1} + i_t ∘ tanh(W_c h_{t-1} + U_c x_t + b_c)
o_t = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + R_io i_{t-1} + R_fo f_{t-1} + R_oo o_{t-1} + b_o)
h_t = o_t ∘ tanh(c_t)"""
    citation = _GREFF

    def step(self, x, h, c, i, f, o):
        i_t = sigmoid(self.input(h, x) + self.peephole_input * c + self.ii(i) + self.fi(f) + self.oi(o))
        f_t = sigmoid(self.forget(h, x) + self.peephole_forget * c + self.if_(i) + self.ff(f) + self.of(o))
        c = f_t * c + i_t * tanh(self.content(h, x))
        o_t = sigmoid(self.output(h, x) + self.peephole_output * c + self.io(i) + self.fo(f) + self.oo(o))
        return o_t * tanh(c), c, i_t, f_t, o_t
