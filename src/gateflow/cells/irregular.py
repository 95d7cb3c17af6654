"""Cells for steps that do not follow each other at equal times: they are given the time since the step before."""

from torch import exp, ones_like, relu, sigmoid, tanh, where, zeros_like

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["GRUD", "CfC"]


@register("cfc")
class CfC(Cell):
    """Closed-form continuous-time network: between two answers by how much time has passed.

    The form in which its authors' code computes it (`ncps`, mode "default", without a backbone), whose time gate has a
    scale and a shift of its own.

    Example:
        >>> import torch
        >>> (h,) = CfC(3, 4)(torch.zeros(2, 3), dt=torch.tensor([0.5, 2.0]))
        >>> h.shape
        torch.Size([2, 4])
    """

    states = ("h",)
    gates = ("early", "late", "scale", "shift")
    equation = """
        e_t = tanh(W_e h_{t-1} + U_e x_t + b_e)
        l_t = tanh(W_l h_{t-1} + U_l x_t + b_l)
        s_t = σ((W_s h_{t-1} + U_s x_t + b_s) Δt + W_f h_{t-1} + U_f x_t + b_f)
        h_t = (1 - s_t) ∘ e_t + s_t ∘ l_t
    """
    citation = (
        "Hasani, Lechner, Amini, Liebenwein, Ray, Tschaikowski, Teschl, Rus (2022). Closed-form continuous-time neural "
        "networks. Nature Machine Intelligence 4, 992-1003. arXiv:2106.13898."
    )

    def step(self, x, dt, h):
        e = tanh(self.early(h, x))
        l = tanh(self.late(h, x))  # noqa: E741
        s = sigmoid(self.scale(h, x) * dt + self.shift(h, x))
        return (1 - s) * e + s * l


@register("gru_d")
class GRUD(Cell):
    """GRU with decays for missing values, which are NaN in the input: they fade to the mean with the time since they
    were last seen, and so does the state. The mean is 0: give it standardised values.

    `last` is the last value seen of each input, `since` the time from there to the step before.

    Example:
        >>> import torch
        >>> h, last, since = GRUD(2, 4)(torch.tensor([[1.0, torch.nan]]), dt=0.5)
        >>> last, since
        (tensor([[1., 0.]]), tensor([[0.0000, 0.5000]]))
    """

    states = ("h", "last", "since")
    gates = ("update", "reset", "content")
    matrices = ("decay", "seen_update", "seen_reset", "seen_content")
    diagonals = ("decay_bias", "input_decay", "input_decay_bias")
    equation = """
        m_t = 1 where x_t is seen, 0 where it is NaN;   δ_t = Δt + since_{t-1}
        v_t = exp(-max(0, w_x ∘ δ_t + b_x)) ∘ last_{t-1} where it is not seen, else x_t
        g_t = exp(-max(0, W_γ δ_t + b_γ)) ∘ h_{t-1}
        u_t = σ(W_u g_t + U_u v_t + V_u m_t + b_u)
        r_t = σ(W_r g_t + U_r v_t + V_r m_t + b_r)
        n_t = tanh(W_n (r_t ∘ g_t) + U_n v_t + V_n m_t + b_n)
        h_t = (1 - u_t) ∘ g_t + u_t ∘ n_t
        last_t = x_t where it is seen, else last_{t-1};   since_t = 0 where it is seen, else δ_t
    """
    citation = (
        "Che, Purushotham, Cho, Sontag, Liu (2018). Recurrent neural networks for multivariate time series with "
        "missing values. Scientific Reports 8, 6085. arXiv:1606.01865."
    )
    keeps = {"update": -1}

    def step(self, x, dt, h, last, since):
        seen, elapsed = x == x, dt + since  # NaN alone is not equal to itself
        m = where(seen, ones_like(last), 0.0)
        v = where(seen, x, exp(-relu(self.input_decay * elapsed + self.input_decay_bias)) * last)
        g = exp(-relu(self.decay(elapsed) + self.decay_bias)) * h
        u = sigmoid(self.update(g, v) + self.seen_update(m))
        r = sigmoid(self.reset(g, v) + self.seen_reset(m))
        n = tanh(self.content(r * g, v) + self.seen_content(m))
        h = (1 - u) * g + u * n
        return h, where(seen, x, last), where(seen, zeros_like(since), elapsed)

    @property
    def state_sizes(self):
        """The units, and two numbers for each input."""
        return {"h": self.hidden_size, "last": self.input_size, "since": self.input_size}

    def parameter_shapes(self):
        """With matrices and vectors of the size of the input."""
        of_input = {f"weight_{name}": (self.hidden_size, self.input_size) for name in self.matrices}
        return super().parameter_shapes() | of_input | dict.fromkeys(self.diagonals[1:], (self.input_size,))
