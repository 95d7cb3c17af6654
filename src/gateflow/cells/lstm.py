"""Long short-term memory: a memory cell in addition to the hidden state, and gates that write, keep and read it."""

from __future__ import annotations

from typing import Any

from torch import sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register
from gateflow.errors import ConfigError

__all__ = ["LSTM", "CoupledLSTM", "LayerNormLSTM", "PeepholeLSTM", "ProjectedLSTM"]

_LSTM_GATES = ("input", "forget", "content", "output")  # the order of torch.nn: i f g o
# The main gate first: `init.forget_bias` sets it alone, `init.chrono` sets both.
_LSTM_KEEPS = {"forget": +1, "input": -1}


@register("lstm")
class LSTM(Cell):
    """The LSTM with a forget gate; equal to `torch.nn.LSTM`.

    Example:
        >>> LSTM(3, 4).weight_ih.shape
        torch.Size([16, 3])
    """

    states = ("h", "c")
    gates = _LSTM_GATES
    keeps = _LSTM_KEEPS
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + b_f)
c̃   = tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + b_o)
c_t = f ∘ c_{t-1} + i ∘ c̃
h_t = o ∘ tanh(c_t)"""
    citation = (
        "Hochreiter, Schmidhuber (1997). Long short-term memory. Neural Computation 9(8), 1735-1780. Forget gate: "
        "Gers, Schmidhuber, Cummins (2000). Learning to forget. Neural Computation 12(10), 2451-2471."
    )

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x))
        f = sigmoid(self.forget(h, x))
        g = tanh(self.content(h, x))
        o = sigmoid(self.output(h, x))
        c = f * c + i * g
        return o * tanh(c), c


@register("projected_lstm")
class ProjectedLSTM(LSTM):
    """The LSTM whose output is a projection of the memory; equal to `torch.nn.LSTM(proj_size=P)`.

    Args:
        input_size: size `I` of `x`.
        hidden_size: size `H` of the memory cell.
        proj_size: size `P` of the output and recurrent state; half of `H` by default.
        options: `bias`, `device`, `dtype` as every cell has them.

    Raises:
        ConfigError: `proj_size` is not between 1 and `H - 1`.

    Example:
        >>> ProjectedLSTM(3, 4, proj_size=2).state_sizes
        {'h': 2, 'c': 4}
    """

    # torch calls the projection `weight_hr`.
    matrices = ("hr",)
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + b_f)
c̃   = tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + b_o)
c_t = f ∘ c_{t-1} + i ∘ c̃
h_t = W_hr (o ∘ tanh(c_t))"""
    citation = (
        "Sak, Senior, Beaufays (2014). Long short-term memory recurrent neural network architectures for large scale "
        "acoustic modeling. Interspeech, 338-342."
    )

    def __init__(self, input_size: int, hidden_size: int, *, proj_size: int | None = None, **options: Any):
        # Set before `super().__init__`, which asks for the shapes of weights.
        self.proj_size = max(hidden_size // 2, 1) if proj_size is None else proj_size
        # A single unit may be projected to one, so that the default works for every size.
        if not 0 < self.proj_size < max(hidden_size, 2):
            raise ConfigError(f"proj_size must be between 1 and hidden_size - 1 = {hidden_size - 1}, got {proj_size}")
        super().__init__(input_size, hidden_size, **options)

    @property
    def state_sizes(self) -> dict[str, int]:
        """`P` for the output, `H` for the memory."""
        return {"h": self.proj_size, "c": self.hidden_size}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """As every cell's, with the projection `weight_hr [P, H]`."""
        return super().parameter_shapes() | {"weight_hr": (self.proj_size, self.hidden_size)}

    def step(self, x, h, c):
        h, c = super().step(x, h, c)
        return self.hr(h), c


@register("peephole_lstm")
class PeepholeLSTM(Cell):
    """The LSTM whose gates see the memory cell, one to one; equal to ONNX's LSTM with `P`.

    Example:
        >>> PeepholeLSTM(3, 4).peephole_forget.shape
        torch.Size([4])
    """

    states = ("h", "c")
    gates = _LSTM_GATES
    diagonals = ("peephole_input", "peephole_forget", "peephole_output")
    keeps = _LSTM_KEEPS
    equation = """\
i   = σ(W_i h_{t-1} + U_i x_t + p_i ∘ c_{t-1} + b_i)
f   = σ(W_f h_{t-1} + U_f x_t + p_f ∘ c_{t-1} + b_f)
c̃   = tanh(W_c h_{t-1} + U_c x_t + b_c)
c_t = f ∘ c_{t-1} + i ∘ c̃
o   = σ(W_o h_{t-1} + U_o x_t + p_o ∘ c_t + b_o)
h_t = o ∘ tanh(c_t)"""
    citation = "Gers, Schmidhuber (2000). Recurrent nets that time and count. IJCNN, vol. 3, 189-194."

    def step(self, x, h, c):
        i = sigmoid(self.input(h, x) + self.peephole_input * c)
        f = sigmoid(self.forget(h, x) + self.peephole_forget * c)
        g = tanh(self.content(h, x))
        c = f * c + i * g
        # The output gate sees the new memory, the other two the old one: as in the paper, and in ONNX.
        o = sigmoid(self.output(h, x) + self.peephole_output * c)
        return o * tanh(c), c


@register("cifg_lstm")
class CoupledLSTM(Cell):
    """The LSTM that writes exactly what it forgets (coupled input and forget gates), without peepholes.

    Example:
        >>> CoupledLSTM(3, 4).gates
        ('forget', 'content', 'output')
    """

    states = ("h", "c")
    gates = ("forget", "content", "output")
    keeps = {"forget": +1}
    equation = """\
f   = σ(W_f h_{t-1} + U_f x_t + b_f)
c̃   = tanh(W_c h_{t-1} + U_c x_t + b_c)
o   = σ(W_o h_{t-1} + U_o x_t + b_o)
c_t = f ∘ c_{t-1} + (1 - f) ∘ c̃
h_t = o ∘ tanh(c_t)"""
    citation = (
        "Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber (2017). LSTM: a search space odyssey. IEEE TNNLS 28(10), "
        "2222-2232. arXiv:1503.04069. Variant CIFG, here without peepholes."
    )

    def step(self, x, h, c):
        f = sigmoid(self.forget(h, x))
        g = tanh(self.content(h, x))
        o = sigmoid(self.output(h, x))
        c = f * c + (1 - f) * g
        return o * tanh(c), c


@register("layernorm_lstm")
class LayerNormLSTM(Cell):
    """The LSTM with a layer norm on each gate's sum and on the memory that is read.

    Example:
        >>> LayerNormLSTM(3, 4).norm_memory_weight.shape
        torch.Size([4])
    """

    states = ("h", "c")
    gates = _LSTM_GATES
    # One norm per gate. Ba et al. also normalise all gates together; this keeps `step` readable, and each
    # gate its own bias.
    norms = ("norm_input", "norm_forget", "norm_content", "norm_output", "norm_memory")
    keeps = _LSTM_KEEPS
    equation = """\
i   = σ(LN(W_i h_{t-1} + U_i x_t + b_i))
f   = σ(LN(W_f h_{t-1} + U_f x_t + b_f))
c̃   = tanh(LN(W_c h_{t-1} + U_c x_t + b_c))
o   = σ(LN(W_o h_{t-1} + U_o x_t + b_o))
c_t = f ∘ c_{t-1} + i ∘ c̃
h_t = o ∘ tanh(LN(c_t))"""
    citation = "Ba, Kiros, Hinton (2016). Layer normalization. arXiv:1607.06450. One norm per gate, on the gate's sum."

    def step(self, x, h, c):
        i = sigmoid(self.norm_input(self.input(h, x)))
        f = sigmoid(self.norm_forget(self.forget(h, x)))
        g = tanh(self.norm_content(self.content(h, x)))
        o = sigmoid(self.norm_output(self.output(h, x)))
        c = f * c + i * g
        return o * tanh(self.norm_memory(c)), c
