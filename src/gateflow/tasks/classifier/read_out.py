"""From the hidden states of all steps to one vector for the sequence, whatever the sequence is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["READ_OUTS", "Attention", "last", "maximum", "mean"]


def last(hidden: Tensor, lengths: Tensor, bidirectional: bool) -> Tensor:
    """The last valid step; of a direction that reads from the end, the first one, where it has read all.

    Args:
        hidden: ``[T, B, F]``; of two directions the first half of F is the forward one's.
        lengths: ``[B]``; zeros where a sequence has no steps.
        bidirectional: whether there are two directions.

    Returns:
        ``[B, F]``.

    Example:
        >>> last(torch.arange(6.0).view(3, 1, 2), torch.tensor([2]), bidirectional=True)
        tensor([[2., 1.]])
    """
    at = (lengths - 1).clamp_min(0)
    ends = hidden[at, torch.arange(len(lengths), device=hidden.device)]
    if bidirectional:
        half = hidden.shape[-1] // 2
        ends = torch.cat([ends[:, :half], hidden[0, :, half:]], dim=-1)
    return _zero_where_empty(ends, lengths)


def mean(hidden: Tensor, lengths: Tensor, bidirectional: bool = False) -> Tensor:
    """The mean over the valid steps, ``[B, F]``; arguments as for `last`."""
    return hidden.masked_fill(beyond(hidden, lengths), 0).sum(0) / lengths.clamp_min(1)[:, None]


def maximum(hidden: Tensor, lengths: Tensor, bidirectional: bool = False) -> Tensor:
    """The largest value of each unit over the valid steps, ``[B, F]``; arguments as for `last`.

    Source: Collobert, Weston (2008), A unified architecture for natural language processing, ICML; over a recurrent
    network Lai, Xu, Liu, Zhao (2015), Recurrent convolutional neural networks for text classification, AAAI.
    """
    # In place of what lies beyond, and not added to it: that may be NaN.
    return _zero_where_empty(hidden.masked_fill(beyond(hidden, lengths), -torch.inf).amax(0), lengths)


class Attention(nn.Module):
    """A weighted mean over the valid steps, whose weights are learnt.

    ``u_t = tanh(W h_t + b)``, ``a = softmax_t(v · u_t)``, ``y = Σ_t a_t h_t``.

    Args:
        size: F, of hidden states and of u.

    Shape: hidden ``[T, B, F]`` and lengths ``[B]`` to ``[B, F]``; a sequence without steps gives zeros.

    Source: Yang, Yang, Dyer, He, Smola, Hovy (2016). Hierarchical attention networks for document classification.
    NAACL.

    Example:
        >>> weights = Attention(4).weights(torch.randn(3, 2, 4), torch.tensor([3, 1]))
        >>> weights.shape, weights[1:, 1].tolist()
        (torch.Size([3, 2]), [0.0, 0.0])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.projection, self.query = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def weights(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """How much each step counts, ``[T, B]``; they add up to 1, and are 0 beyond a sequence's end."""
        scores = self.query(torch.tanh(self.projection(hidden)))
        outside = beyond(hidden, lengths)
        # A sequence without steps would be a softmax over nothing: NaN, in its gradient too.
        scores = scores.masked_fill(outside, torch.finfo(scores.dtype).min)
        return scores.softmax(0).masked_fill(outside, 0)[..., 0]

    def forward(self, hidden: Tensor, lengths: Tensor, bidirectional: bool = False) -> Tensor:
        """The weighted mean."""
        weights = self.weights(hidden, lengths)[..., None]
        return (hidden.masked_fill(beyond(hidden, lengths), 0) * weights).sum(0)


READ_OUTS: dict[str, Callable[[int], Callable[[Tensor, Tensor, bool], Tensor]]] = {
    "last": lambda size: last,
    "mean": lambda size: mean,
    "max": lambda size: maximum,
    "attention": Attention,
}
"""By name, each made for F components."""


def beyond(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Where sequences have ended, ``[T, B, 1]``."""
    return (torch.arange(len(hidden), device=hidden.device)[:, None] >= lengths)[..., None]


def _zero_where_empty(found: Tensor, lengths: Tensor) -> Tensor:
    return found.masked_fill((lengths == 0)[:, None], 0)
