"""Gated recurrent units. Where the reset acts, before or after the product, makes two different cells."""

from torch import nn, relu, sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["GRU", "MUT1", "FullGRU", "LayerNormGRU", "LiGRU", "MinimalGatedUnit", "SimplifiedGRU"]

_CHO = (
    "Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio (2014). Learning phrase representations "
    "using RNN encoder-decoder for statistical machine translation. EMNLP, 1724-1734. arXiv:1406.1078."
)


@register("simplified_gru")
class SimplifiedGRU(Cell):
    """The GRU without reset: one gate decides when the memory cell is rewritten.

    Example:
        >>> SimplifiedGRU(3, 4).gates
        ('update', 'content')
    """

    states = ("c",)
    gates = ("update", "content")
    keeps = {"update": -1}
    equation = """\
Γ_u = σ(W_u c_{t-1} + U_u x_t + b_u)
c̃   = tanh(W_c c_{t-1} + U_c x_t + b_c)
c_t = Γ_u ∘ c̃ + (1 - Γ_u) ∘ c_{t-1}"""
    citation = "Ng (2018). Sequence models, lecture: Gated recurrent unit, simplified form. After " + _CHO

    def step(self, x, c):
        u = sigmoid(self.update(c, x))
        n = tanh(self.content(c, x))
        return u * n + (1 - u) * c


@register("full_gru")
class FullGRU(Cell):
    """The GRU as first published: the reset acts BEFORE the product. ONNX's default; `torch.nn.GRU` is another cell.

    Example:
        >>> FullGRU(3, 4).weight_hh.shape
        torch.Size([12, 4])
    """

    states = ("c",)
    # The order of ONNX: z r h.
    gates = ("update", "reset", "content")
    keeps = {"update": -1}
    equation = """\
Γ_u = σ(W_u c_{t-1} + U_u x_t + b_u)
Γ_r = σ(W_r c_{t-1} + U_r x_t + b_r)
c̃   = tanh(W_c (Γ_r ∘ c_{t-1}) + U_c x_t + b_c)
c_t = Γ_u ∘ c̃ + (1 - Γ_u) ∘ c_{t-1}"""
    citation = _CHO

    def step(self, x, c):
        u = sigmoid(self.update(c, x))
        r = sigmoid(self.reset(c, x))
        n = tanh(self.content(r * c, x))
        return u * n + (1 - u) * c


@register("gru")
class GRU(Cell):
    """The GRU of `torch.nn` and cuDNN: the reset acts AFTER the product, and an open `z` keeps.

    Example:
        >>> GRU(3, 4).gates
        ('reset', 'update', 'content')
    """

    states = ("h",)
    # The order of torch and cuDNN: r z n.
    gates = ("reset", "update", "content")
    keeps = {"update": +1}
    equation = """\
r   = σ(W_r h_{t-1} + U_r x_t + b_r)
z   = σ(W_z h_{t-1} + U_z x_t + b_z)
n   = tanh(U_n x_t + b_in + r ∘ (W_n h_{t-1} + b_hn))
h_t = (1 - z) ∘ n + z ∘ h_{t-1}"""
    citation = _CHO + " Version 1 of the paper, as built by cuDNN and torch.nn.GRU."

    def step(self, x, h):
        r = sigmoid(self.reset(h, x))
        z = sigmoid(self.update(h, x))
        # b_hn lies inside the bracket, as in cuDNN: the reset scales it too, so the two biases of torch are not one.
        n = tanh(self.content.input(x) + r * self.content.recurrent(h))
        return (1 - z) * n + z * h


@register("minimal_gated_unit")
class MinimalGatedUnit(Cell):
    """One gate that both resets and updates.

    Example:
        >>> MinimalGatedUnit(3, 4).gates
        ('forget', 'content')
    """

    states = ("h",)
    gates = ("forget", "content")
    keeps = {"forget": -1}
    equation = """\
f   = σ(W_f h_{t-1} + U_f x_t + b_f)
h̃   = tanh(W_h (f ∘ h_{t-1}) + U_h x_t + b_h)
h_t = (1 - f) ∘ h_{t-1} + f ∘ h̃"""
    citation = (
        "Zhou, Wu, Zhang, Zhou (2016). Minimal gated unit for recurrent neural networks. International Journal of "
        "Automation and Computing 13(3), 226-234. arXiv:1603.09420."
    )

    def step(self, x, h):
        f = sigmoid(self.forget(h, x))
        n = tanh(self.content(f * h, x))
        return (1 - f) * h + f * n


@register("layernorm_gru")
class LayerNormGRU(Cell):
    """The reset-after GRU with a layer norm on each gate's sum; the content's norm is on its recurrent half.

    Example:
        >>> LayerNormGRU(3, 4).norm_update_bias.shape
        torch.Size([4])
    """

    states = ("h",)
    gates = ("reset", "update", "content")
    norms = ("norm_reset", "norm_update", "norm_recurrent")
    keeps = {"update": +1}
    equation = """\
r   = σ(LN(W_r h_{t-1} + U_r x_t + b_r))
z   = σ(LN(W_z h_{t-1} + U_z x_t + b_z))
n   = tanh(U_n x_t + b_in + r ∘ LN(W_n h_{t-1} + b_hn))
h_t = (1 - z) ∘ n + z ∘ h_{t-1}"""
    citation = "Ba, Kiros, Hinton (2016). Layer normalization. arXiv:1607.06450. One norm per gate, on the gate's sum."

    def step(self, x, h):
        r = sigmoid(self.norm_reset(self.reset(h, x)))
        z = sigmoid(self.norm_update(self.update(h, x)))
        n = tanh(self.content.input(x) + r * self.norm_recurrent(self.content.recurrent(h)))
        return (1 - z) * n + z * h


@register("mut1")
class MUT1(Cell):
    """The first of three cells that a search over ten thousand found: its update gate sees the input alone.

    The paper adds `tanh(x_t)` itself, which needs `I = H`; `U_h` brings other inputs to that size.

    Example:
        >>> MUT1(3, 4).inputs
        ('update',)
    """

    states = ("h",)
    gates = ("reset", "content")
    inputs = ("update",)
    keeps = {"update": -1}
    equation = """\
z   = σ(U_z x_t + b_z)
r   = σ(W_r h_{t-1} + U_r x_t + b_r)
h̃   = tanh(W_h (r ∘ h_{t-1}) + tanh(U_h x_t + b_x) + b_h)
h_t = z ∘ h̃ + (1 - z) ∘ h_{t-1}"""
    citation = (
        "Jozefowicz, Zaremba, Sutskever (2015). An empirical exploration of recurrent network architectures. ICML, "
        "2342-2350."
    )

    def step(self, x, h):
        z = sigmoid(self.update(x))
        r = sigmoid(self.reset(h, x))
        n = tanh(self.content.recurrent(r * h) + tanh(self.content.input(x)))
        return z * n + (1 - z) * h


@register("li_gru")
class LiGRU(Cell):
    """The light GRU: no reset gate, and ReLU with a norm on the input's half.

    The authors have batch norm, with which a row depends on the other rows of its batch; this is layer norm. They begin
    with orthogonal recurrent matrices (`remedies.init.orthogonal`).

    Example:
        >>> LiGRU(3, 4).norms
        ('norm_update', 'norm_content')
    """

    states = ("h",)
    gates = ("update", "content")
    norms = ("norm_update", "norm_content")
    keeps = {"update": +1}
    equation = """\
z   = σ(LN(U_z x_t + b_iz) + W_z h_{t-1} + b_z)
h̃   = max(0, LN(U_h x_t + b_ih) + W_h h_{t-1} + b_h)
h_t = z ∘ h_{t-1} + (1 - z) ∘ h̃"""
    citation = (
        "Ravanelli, Brakel, Omologo, Bengio (2018). Light gated recurrent units for speech recognition. IEEE TETCI "
        "2(2), 92-102. arXiv:1803.10225."
    )

    def step(self, x, h):
        z = sigmoid(self.norm_update(self.update.input(x)) + self.update.recurrent(h))
        n = relu(self.norm_content(self.content.input(x)) + self.content.recurrent(h))
        return z * h + (1 - z) * n

    def reset_parameters(self):
        """As every cell, but the norms bring the only biases to begin with, as in the paper."""
        super().reset_parameters()
        if self.bias:
            # `remedies.init` sets the bias of the norm: with another one behind it, the gate would begin elsewhere.
            nn.init.zeros_(self.bias_hh)
