"""The vanilla recurrent network, with tanh or ReLU, and its independent form."""

from torch import nn, relu, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["Elman", "ElmanReLU", "IndRNN"]


@register("elman")
class Elman(Cell):
    """The vanilla (Elman) network with tanh; equal to `torch.nn.RNN`.

    Example:
        >>> Elman(3, 4).weight_hh.shape
        torch.Size([4, 4])
    """

    states = ("h",)
    gates = ("content",)
    equation = "h_t = tanh(W h_{t-1} + U x_t + b)"
    citation = "Elman (1990). Finding structure in time. Cognitive Science 14(2), 179-211."

    def step(self, x, h):
        return tanh(self.content(h, x))


@register("elman_relu")
class ElmanReLU(Cell):
    """The vanilla network with ReLU; equal to `torch.nn.RNN(nonlinearity="relu")`. With `init.identity`: an IRNN.

    Example:
        >>> ElmanReLU(3, 4).gates
        ('content',)
    """

    states = ("h",)
    gates = ("content",)
    equation = "h_t = max(0, W h_{t-1} + U x_t + b)"
    citation = (
        "Le, Jaitly, Hinton (2015). A simple way to initialize recurrent networks of rectified linear units. "
        "arXiv:1504.00941."
    )

    def step(self, x, h):
        return relu(self.content(h, x))


@register("indrnn")
class IndRNN(Cell):
    """A ReLU network whose units see only their own past; `u` starts in U(0, 1).

    Example:
        >>> IndRNN(3, 4).recurrent.shape
        torch.Size([4])
    """

    states = ("h",)
    inputs = ("content",)
    diagonals = ("recurrent",)
    equation = "h_t = max(0, u ∘ h_{t-1} + U x_t + b)"
    citation = (
        "Li, Li, Cook, Zhu, Gao (2018). Independently recurrent neural network (IndRNN): building a longer and deeper "
        "RNN. CVPR, 5457-5466. arXiv:1803.04831."
    )

    def step(self, x, h):
        return relu(self.recurrent * h + self.content(x))

    def reset_parameters(self):
        """As every cell, but the recurrent weights start between 0 (forget) and 1 (keep for good)."""
        super().reset_parameters()
        # Never negative: a unit whose sign flips at each step keeps nothing under a ReLU.
        nn.init.uniform_(self.recurrent, 0.0, 1.0)
