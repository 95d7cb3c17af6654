"""Sums over all tag sequences of a linear chain: log-partition and marginals, by forward-backward.

Read from its end, a chain is one with transposed transitions. So both directions are one recursion, for two chains:

    message_0 = begin,    message_t(j) = log Σ_i exp(message_{t-1}(i) + score_{t-1}(i) + inner(i, j))
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gateflow.recurrence.captured import transformed

__all__ = ["FORBIDDEN", "IMPOSSIBLE", "Chain", "conditionals", "log_partition", "marginals", "sequence_score"]

# Instead of −inf, whose differences are NaN: sums of any number of these are finite, and no score comes near.
FORBIDDEN = -1e30
# What lies below has met something forbidden.
IMPOSSIBLE = -1e29


class Chain(NamedTuple):
    """Sequences of tags and what each tag and each transition adds to the logarithm of their weight.

    Attributes:
        scores: `[T, B, K]` with `T ≥ 1`, finite, zero beyond a row's length.
        begin, inner, end: `[K]`, `[K, K]` (from, to), `[K]`; `FORBIDDEN` where no sequence may pass.
        lengths: `[B]`.
    """

    scores: Tensor
    begin: Tensor
    inner: Tensor
    end: Tensor
    lengths: Tensor

    @property
    def valid(self) -> Tensor:
        """Which steps lie within their rows, `[T, B]`."""
        return torch.arange(len(self.scores), device=self.scores.device)[:, None] < self.lengths

    @property
    def last(self) -> Tensor:
        """Each row's last step, `[B]`; 0 for a row without steps."""
        return (self.lengths - 1).clamp(min=0)

    def at_end(self, values: Tensor) -> Tensor:
        """Of values `[T, B, …]` those of each row's last step, `[B, …]`."""
        return values[self.last, torch.arange(values.shape[1], device=values.device)]

    def turned(self, values: Tensor) -> Tensor:
        """Values `[T, B, K]` with each row read from its own end; twice gives what was given."""
        T, B = values.shape[:2]
        t = torch.arange(T, device=values.device)[:, None]
        source = torch.where(t < self.lengths, self.lengths - 1 - t, t) * B + torch.arange(B, device=values.device)
        # Rows of K numbers at once; `gather` goes number by number.
        return values.flatten(0, 1).index_select(0, source.flatten()).view_as(values)


def log_partition(chain: Chain) -> Tensor:
    """The logarithm of the summed weights of all sequences, `[B]`; 0 for a row without steps."""
    if transformed() is None:
        sums = _Sums.by_products(chain)
        if sums is not None:
            return _LogPartition.apply(*chain, sums)
    first = _messages(chain.scores, chain.begin, chain.inner)
    return _total(chain, first)


def marginals(chain: Chain) -> tuple[Tensor, Tensor]:
    """The probability of each tag at each step, `[T, B, K]`, zero beyond a row's length, and the log-partition."""
    if transformed() is None and not (torch.is_grad_enabled() and any(part.requires_grad for part in chain)):
        sums = _Sums.by_products(chain)
        if sums is not None:
            return sums.marginals, sums.total
    return _marginals(chain)


@torch.no_grad()
def conditionals(chain: Chain, tags: Tensor) -> Tensor:
    """The probability of each of `tags [T, B]` given the tag before it, `[T, B]`; of a row's first its own."""
    K, earlier, later = chain.scores.shape[2], tags[:-1, :, None], tags[1:, :, None]
    steps = earlier[..., 0] * K + later[..., 0]
    sums = _Sums.by_products(chain) if transformed() is None else None
    if sums is None:
        scores, turned = chain.scores, chain.turned
        forward = _messages(scores, chain.begin, chain.inner)
        backward = turned(_messages(turned(scores), chain.end, chain.inner.t()))
        total = _total(chain, forward)
        # Of both tags, and of the first alone: what comes before the first is in both.
        after = (scores + backward)[1:].gather(2, later)[..., 0] + chain.inner.flatten().take(steps)
        following = (after - backward[:-1].gather(2, earlier)[..., 0]).exp()
        first = (forward[0] + scores[0] + backward[0] - total[:, None]).exp()
    else:
        pairs = sums.leaving.gather(2, earlier)[..., 0] * sums.inner.flatten().take(steps)
        pairs = pairs * sums.arriving.gather(2, later)[..., 0]
        following = pairs / sums.marginals[:-1].gather(2, earlier)[..., 0]
        first = sums.marginals[0]
    found = torch.cat([first.gather(1, tags[0, :, None]).t(), following])
    # What follows a tag that cannot be has no probability; beyond a row's end nothing has.
    return torch.where(chain.valid, found.nan_to_num(0.0, 0.0, 0.0).clamp(max=1.0), 0.0)


def sequence_score(chain: Chain, tags: Tensor) -> Tensor:
    """What the sequences `tags [T, B]` add up to, `[B]`; tags are within range, beyond a row's length too."""
    K = chain.scores.shape[2]
    scores = chain.scores.gather(2, tags[:, :, None])[:, :, 0].sum(0)
    steps = chain.inner.flatten().take(tags[:-1] * K + tags[1:])
    steps = torch.where(chain.valid[1:], steps, 0.0).sum(0)
    ends = chain.begin.take(tags[0]) + chain.end.take(chain.at_end(tags))
    return torch.where(chain.lengths > 0, scores + steps + ends, 0.0)


def _messages(scores: Tensor, start: Tensor, inner: Tensor) -> Tensor:
    """The definition, in logarithms throughout: exact for any scores, and as often differentiable as one likes."""
    messages = [start.expand_as(scores[0])]
    for score in scores[:-1]:
        arriving = (messages[-1] + score)[..., :, None] + inner[..., None, :, :]
        messages.append(arriving.logsumexp(-2))
    return torch.stack(messages)


def _total(chain: Chain, forward: Tensor) -> Tensor:
    """The log-partition from the forward messages."""
    total = (chain.at_end(forward + chain.scores) + chain.end).logsumexp(-1)
    return torch.where(chain.lengths > 0, total, 0.0)


def _marginals(chain: Chain) -> tuple[Tensor, Tensor]:
    """Marginals and log-partition, from the messages of both directions."""
    scores = torch.stack([chain.scores, chain.turned(chain.scores)], 1)
    starts, inner = torch.stack([chain.begin, chain.end])[:, None], torch.stack([chain.inner, chain.inner.t()])
    forward, backward = _messages(scores, starts, inner).unbind(1)
    total = _total(chain, forward)
    logarithms = forward + chain.scores + chain.turned(backward) - total[:, None]
    # Before `exp` too: beyond its end a row's sums mean nothing, and infinity times a gradient of 0 is NaN.
    valid = chain.valid[:, :, None]
    return torch.where(valid, logarithms, 0.0).exp() * valid, total


class _Sums(NamedTuple):
    """A chain's log-partition, and what its derivative needs.

    Attributes:
        total: the log-partition, `[B]`.
        marginals: `[T, B, K]`.
        leaving, arriving, inner: the probability of tag `i` at `t` and `j` at `t + 1` is
            `leaving[t, b, i] · inner[i, j] · arriving[t, b, j]`; `[T - 1, B, K]`, `[T - 1, B, K]` and `[K, K]`.
    """

    total: Tensor
    marginals: Tensor
    leaving: Tensor
    arriving: Tensor
    inner: Tensor

    @classmethod
    @torch.no_grad()
    def by_products(cls, chain: Chain) -> _Sums | None:
        """Without logarithms, by a product of matrices for each step; none where the numbers differ too much for that.

        Each factor is taken relative to the greatest (Rabiner 1989). What is too small for a floating-point number is
        lost, so no factor or sum is let below a floor that is far above all that can be lost: what passes there then
        counts for too much, never too little. If even so its share is less than rounding, nothing was lost that counts.
        """
        limits, valid = torch.finfo(chain.scores.dtype), chain.valid[:, :, None]
        # The product of three factors is no smaller than `tiny`.
        floor = limits.tiny ** (1 / 3)
        tops, peak, ends = chain.scores.amax(-1, keepdim=True), chain.inner.max(), torch.stack([chain.begin, chain.end])
        weights = (chain.scores - tops).exp_().clamp_(min=floor)
        inner = (chain.inner - peak).exp_()
        start = (ends - ends.amax(-1, keepdim=True)).exp_().clamp_(min=floor)
        both = torch.stack([weights, chain.turned(weights)], 2)
        with torch.autocast(weights.device.type, enabled=False):
            sums, scales = _scaled_recursion(both, start.expand_as(both[0]), torch.block_diag(inner, inner.t()), floor)
        forward, backward = sums[:, :, 0], chain.turned(sums[:, :, 1])
        arriving = weights * backward
        shares = (forward * arriving).sum(-1, keepdim=True)
        arriving *= torch.where(valid, 1 / shares, 0.0)
        marginals, leaving = forward * arriving, forward * weights
        lost = torch.minimum(torch.minimum(forward, backward), weights) == floor
        if float(marginals[lost].sum()) > limits.eps:
            return None
        total = chain.at_end(shares).log() + (scales[:, :, 0].log() * valid[1:]).sum(0) + tops.sum(0)
        total = total[:, 0] + (chain.lengths - 1) * peak + ends.amax(-1).sum()
        total = torch.where(chain.lengths > 0, total, 0.0)
        return cls(total, marginals.masked_fill_(lost, 0.0), leaving[:-1].div_(scales[:, :, 0]), arriving[1:], inner)


def _scaled_recursion(weights: Tensor, start: Tensor, inner: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Sums before each step, `[T, B, 2, K]`, and by what those after it were divided, `[T - 1, B, 2, 1]`.

    Both directions are one product, with zeros in `inner` between them: of a batch of two products each would have a
    thread of its own, and that waits for the other at each step, for milliseconds where the machine is busy.
    """
    # A first scale, which is cut off: of one step there is nothing to stack.
    sums, scales = [start], [start[..., :1]]
    # Tensors of their own, stacked afterwards, take less time than views into one.
    for weight in weights[:-1].unbind():
        after = sums[-1] * weight
        scales.append(after.amax(-1, keepdim=True))
        after = torch.mm(after.div_(scales[-1]).view(len(start), len(inner)), inner)
        sums.append(after.clamp_(min=floor).view_as(start))
    return torch.stack(sums), torch.stack(scales)[1:]


class _LogPartition(torch.autograd.Function):
    """Hands on a log-partition whose derivative is there already."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, begin: Tensor, inner: Tensor, end: Tensor, lengths: Tensor, sums: _Sums
    ) -> Tensor:
        ctx.save_for_backward(scores, begin, inner, end, lengths, *sums[1:])
        return sums.total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), saved = gradients, ctx.saved_tensors
        chain, (probabilities, leaving, arriving, factors) = Chain(*saved[:5]), saved[5:]
        # A derivative that is to be differentiated itself is that of the definition.
        if torch.is_grad_enabled():
            return *_differentiable(chain, gradient, ctx.needs_input_grad[:4]), None, None
        scores = probabilities * gradient[:, None]
        begin, end = scores[0].sum(0), torch.where(chain.lengths[:, None] > 0, chain.at_end(scores), 0.0).sum(0)
        with torch.autocast(leaving.device.type, enabled=False):
            inner = factors * torch.tensordot(leaving.permute(2, 0, 1), arriving * gradient[:, None], 2)
        return scores, begin, inner, end, None, None


def _differentiable(chain: Chain, gradient: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
    total = _total(chain, _messages(chain.scores, chain.begin, chain.inner))
    inputs = [part for part, is_needed in zip(chain, needed, strict=False) if is_needed]
    found = iter(torch.autograd.grad(total, inputs, gradient, create_graph=True, materialize_grads=True))
    return [next(found) if is_needed else None for is_needed in needed]
