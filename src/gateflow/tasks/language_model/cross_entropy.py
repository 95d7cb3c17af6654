"""The loss over a large vocabulary, without ever holding all its scores, or from a sample of them while training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gateflow.data.stream import IGNORED

# 16 MB in float32: the scores of a few rows stay in the cache until they are used up.
_SCORES_AT_ONCE = 1 << 22


def cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``-log softmax(W h + b)[target]``, the scores made and used up some rows at a time.

    The memory needed beyond the gradients does not grow with rows times vocabulary: no more than four million scores
    exist at once. Gradients are computed along with the loss, so there are no second
    derivatives. Half precision, under autocast too, is widened to fp32. Torch before 2.13 makes the scores twice, a
    second time for the gradients.

    Args:
        hidden: ``[N, H]``.
        weight: ``[V, H]``.
        bias: ``[V]``.
        targets: ``int64 [N]``; rows with target -100 do not count.

    Example:
        >>> loss = cross_entropy(torch.zeros(3, 2), torch.ones(5, 2), torch.zeros(5), torch.tensor([0, 4, 2]))
        >>> round(loss.exp().item(), 4)
        5.0
    """
    rows = max(1, _SCORES_AT_ONCE // len(weight))
    # Given bf16 it would return the loss in bf16, of two or three digits.
    wide = torch.promote_types(hidden.dtype, torch.float32)
    hidden, weight, bias = hidden.to(wide), weight.to(wide), bias.to(wide)
    if not hasattr(F, "linear_cross_entropy"):  # torch before 2.13
        return _by_checkpoints(hidden, weight, bias, targets, rows)
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=rows, chunking_method=None, allow_retain_graph=True)
    return F.linear_cross_entropy(hidden, weight, targets, linear_bias=bias, options=options)


def _by_checkpoints(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, rows: int) -> Tensor:
    """The same by torch's plain loss, whose scores are dropped and made again for their gradients."""

    def summed(*part: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(part[0], weight, bias), part[1], reduction="sum")

    with torch.autocast(hidden.device.type, enabled=False):
        parts = zip(hidden.split(rows), targets.split(rows), strict=True)
        losses = [checkpoint(summed, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    return torch.stack(losses).sum() / (targets != IGNORED).sum()


def inclusion(frequencies: Tensor, samples: int, power: float = 0.75) -> Tensor:
    """With which probability each word joins the samples, ``[V]``, summing to ``samples``.

    It is ``min(1, c · frequency^power)``: frequent words are always there, rare ones now and then.

    Example:
        >>> inclusion(torch.tensor([98.0, 1.0, 1.0]), samples=2)
        tensor([1.0000, 0.5000, 0.5000])
    """
    wish, order = frequencies.double().pow(power).sort(descending=True)
    rest = wish.flip(0).cumsum(0).flip(0)
    always = torch.arange(len(wish), device=wish.device)
    scale = (samples - always) / rest
    # The most frequent words come first and get probability 1, as long as their share would be above it.
    scale = scale[(scale * wish <= 1).nonzero()[0, 0]] if samples < len(wish) else torch.inf
    return torch.empty_like(wish).scatter_(0, order, (scale * wish).clamp(max=1)).to(frequencies.dtype)


def sampled_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, frequencies: Tensor, inclusion: Tensor
) -> Tensor:
    """Estimate :func:`cross_entropy` from the targets and a random sample of all other words.

    The softmax runs over the sample, each score less the logarithm of the probability with which its word got there.
    A model trained so converges to the scores that :func:`cross_entropy` asks for, at a fraction of the work.

    Args:
        hidden: ``[N, H]``.
        weight: ``[V, H]``.
        bias: ``[V]``.
        targets: ``int64 [N]``, all of them words.
        frequencies: ``[V]``, how often a target is each word; sums to 1.
        inclusion: ``[V]``, of :func:`inclusion`.

    Source: Bengio and Senécal 2008, Adaptive importance sampling to accelerate training of a neural probabilistic
    language model; Jean et al. 2015, arXiv:1412.2007.

    Example:
        >>> everything, h, w = torch.ones(5), torch.randn(3, 2), torch.randn(5, 2)
        >>> full = cross_entropy(h, w, torch.zeros(5), torch.tensor([0, 4, 2]))
        >>> same = sampled_cross_entropy(h, w, torch.zeros(5), torch.tensor([0, 4, 2]), everything / 5, everything)
        >>> torch.allclose(full, same)
        True
    """
    chosen = torch.rand_like(inclusion) < inclusion
    # A softmax without its own target has no loss.
    chosen[targets] = True
    words, place = chosen.nonzero().squeeze(1), chosen.cumsum(0) - 1
    # A word is there because it was drawn or because some target of this window is that word.
    absent = (1 - inclusion[words]) * (1 - frequencies[words]) ** len(targets)
    # log1p, for the probability that a rare word is absent rounds to 1 in float32.
    log_present = torch.log1p(-absent)
    own = place[targets]
    return cross_entropy(hidden, weight[words], bias[words] - log_present, own) - log_present[own].mean()
