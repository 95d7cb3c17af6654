"""`LinearChainCRF`: a layer that scores whole tag sequences, with exact sums over all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from gateflow.errors import ShapeError
from gateflow.layers import viterbi
from gateflow.layers.chain import FORBIDDEN, IMPOSSIBLE, Chain, conditionals, log_partition, marginals, sequence_score
from gateflow.layers.crf_arguments import (
    checked_allowed,
    checked_mask,
    checked_number,
    checked_tags,
    refuse_impossible,
    refuse_without_sequences,
)
from gateflow.layers.sequences import checked_lengths

__all__ = ["LinearChainCRF"]

Lengths = Tensor | Sequence[int] | None
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _eager(method: _Method) -> _Method:
    """Outside of the graphs of `torch.compile`, which would unroll the loop over time, for each number of steps."""

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(method)(*arguments, **options)
        return method(*arguments, **options)

    return cast("_Method", call)


class LinearChainCRF(nn.Module):
    r"""A linear-chain conditional random field over tag sequences.

    A sequence of tags `y` has the score

        s(y) = begin[y_0] + Σ_t scores[t, y_t] + Σ_t transitions[y_t, y_{t+1}] + end[y_{T-1}]

    and the probability `exp(s(y)) / Σ_y' exp(s(y'))`, where `y'` runs over all sequences of that length. `scores` come
    from a network, one number for each step and tag; the rest is learned here. All is computed in float64 (in float32
    on Apple's GPUs, which have no other).

    Args:
        num_tags: how many tags there are, `K`.
        begin: `[K]` truth values: may a sequence begin with this tag? All may, if not given.
        inner: `[K, K]` truth values: may tag `j` follow tag `i`, at `[i, j]`?
        end: `[K]` truth values: may a sequence end with this tag?
        device, dtype: where and in what precision the weights live.

    Attributes:
        transitions: weights `[K, K]`, from tag `i` to tag `j` at `[i, j]`. Zero at first, as `begin` and `end` are.
        begin, end: weights `[K]` of the first and of the last tag.
        may_begin, may_follow, may_end: the masks, in the `state_dict` as well.

    Shape:
        * scores `[T, B, K]`, in any floating-point type. Scores below -1e29, such as -inf, forbid a tag.
        * tags `[T, B]` integers from 0 to `K - 1`; beyond a row's length they may be anything.
        * lengths: `[B]` integers from 0 to `T`, any order, any device; all are `T` if not given. What lies beyond a
          row's length is never seen. A row of length 0 has one sequence, the empty one.
        * results in float32, or in float64 if scores or weights are.

    Raises:
        ConfigError: masks that do not fit, or under which there is no sequence of any length.
        ShapeError: scores, tags or lengths do not fit.
        NoSequenceError: the best sequence or marginals are asked for, and no sequence of a row's length may be, or its
            scores are NaN.

    Example:
        >>> crf = LinearChainCRF(3, inner=[[True, True, False], [True, True, True], [True, True, True]])
        >>> scores = torch.tensor([[[2.0, 0.0, 1.0]], [[0.0, 1.0, 3.0]], [[0.0, 1.0, 0.0]]])  # T = 3, B = 1
        >>> crf.decode(scores).t()  # the greatest score of each step is that of 0, 2, 1; but 2 may not follow 0
        tensor([[2, 2, 1]])
        >>> tags = torch.tensor([[2], [2], [1]])
        >>> loss = -crf.log_likelihood(scores, tags, lengths=[3]).mean()
        >>> crf.marginals(scores).shape
        torch.Size([3, 1, 3])

    Lafferty, McCallum and Pereira, "Conditional random fields: probabilistic models for segmenting and labeling
    sequence data", ICML 2001.
    """

    may_begin: Tensor
    may_follow: Tensor
    may_end: Tensor

    def __init__(
        self,
        num_tags: int,
        *,
        begin: Any = None,
        inner: Any = None,
        end: Any = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.num_tags = checked_number(num_tags, "num_tags")
        # Checked where they are, before they go to a device that may hold no values ("meta").
        masks = [
            checked_mask(mask, name, (num_tags,) * (1 + (name == "inner")))
            for name, mask in (("begin", begin), ("inner", inner), ("end", end))
        ]
        refuse_without_sequences(*masks)
        for name, mask in zip(("may_begin", "may_follow", "may_end"), masks, strict=True):
            self.register_buffer(name, mask.to(device or torch.get_default_device()))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags, device=device, dtype=dtype))
        self.begin = nn.Parameter(torch.empty(num_tags, device=device, dtype=dtype))
        self.end = nn.Parameter(torch.empty(num_tags, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights zero: every sequence is as likely as its scores say, and nothing random is drawn."""
        for weight in self.parameters():
            nn.init.zeros_(weight)

    def forward(self, scores: Tensor, tags: Tensor, lengths: Lengths = None) -> Tensor:
        """As `log_likelihood`."""
        return self.log_likelihood(scores, tags, lengths)

    @_eager
    def log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Lengths = None) -> Tensor:
        """The log-probability of each row's tags, `[B]`; 0 for a row without steps.

        It is -inf, with a gradient of zero, where the tags are forbidden: the logarithm of their probability.

        Example:
            >>> LinearChainCRF(2).log_likelihood(torch.zeros(3, 1, 2), torch.tensor([[0], [1], [1]])).exp()
            tensor([0.1250], grad_fn=<ExpBackward0>)
        """
        chain = self._chain(scores, lengths)
        found = sequence_score(chain, checked_tags(tags, scores, chain))
        # `log 0` is a constant: its row has a gradient of zero.
        found = torch.where(found > IMPOSSIBLE, found - log_partition(chain), -torch.inf)
        return found.to(self._result_type(scores))

    @_eager
    def log_partition(self, scores: Tensor, lengths: Lengths = None, allowed: Tensor | None = None) -> Tensor:
        """The logarithm of the summed `exp(s(y))` over all sequences, `[B]`; 0 for a row without steps.

        Args:
            scores, lengths: see the class.
            allowed: truth values `[T, B, K]`: the sum is over those sequences alone whose every tag is allowed at its
                step, -inf if there are none. So the probability of a tag, a span, or whatever else such a mask can say
                is `exp(log_partition(scores, lengths, allowed) - log_partition(scores, lengths))`.

        Example:
            >>> crf, scores = LinearChainCRF(2), torch.zeros(3, 1, 2)
            >>> allowed = torch.ones(3, 1, 2, dtype=torch.bool)
            >>> allowed[:2, 0, 0] = False  # tag 1 in the first two steps
            >>> (crf.log_partition(scores, allowed=allowed) - crf.log_partition(scores)).exp()
            tensor([0.2500], grad_fn=<ExpBackward0>)
        """
        if allowed is not None:
            scores = scores.masked_fill(~checked_allowed(allowed, scores), -torch.inf)
        found = log_partition(self._chain(scores, lengths))
        return torch.where(found > IMPOSSIBLE, found, -torch.inf).to(self._result_type(scores))

    @_eager
    def marginals(self, scores: Tensor, lengths: Lengths = None) -> Tensor:
        """The probability of each tag at each step, `[T, B, K]`; zero beyond a row's length.

        Example:
            >>> LinearChainCRF(2).marginals(torch.zeros(2, 1, 2)).tolist()
            [[[0.5, 0.5]], [[0.5, 0.5]]]
        """
        chain = self._chain(scores, lengths)
        found, total = marginals(chain)
        refuse_impossible(chain, total)
        return found[: len(scores)].to(self._result_type(scores))

    @_eager
    def conditionals(self, scores: Tensor, tags: Tensor, lengths: Lengths = None) -> Tensor:
        """The probability of each tag given the one before it, `[T, B]`, without gradients; of the first its own.

        The probability that the words from `b` to `e` have these tags, whatever the others have, is
        `marginals[b, tags[b]] · Π conditionals[b + 1 … e]`: a chain forgets all but the last tag. So the probabilities
        of all spans of a sentence take one pass. 0 beyond a row's length, and after a tag that cannot be.

        Example:
            >>> LinearChainCRF(2).conditionals(torch.zeros(3, 1, 2), torch.tensor([[0], [1], [1]])).flatten()
            tensor([0.5000, 0.5000, 0.5000])
        """
        chain = self._chain(scores, lengths)
        found = conditionals(chain, checked_tags(tags, scores, chain))
        return found[: len(scores)].to(self._result_type(scores))

    @_eager
    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Lengths = None) -> Tensor:
        """The most probable tags, `[T, B]` int64; -1 beyond a row's length.

        Example:
            >>> LinearChainCRF(2).decode(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]).expand(2, 2, 2), lengths=[2, 1]).t()
            tensor([[ 1,  1],
                    [ 0, -1]])
        """
        chain = self._chain(scores, lengths)
        tags, total = viterbi.best(chain)
        refuse_impossible(chain, total)
        return torch.where(chain.valid, tags, -1)[: len(scores)]

    @_eager
    @torch.no_grad()
    def n_best(self, scores: Tensor, lengths: Lengths = None, n: int = 5) -> tuple[Tensor, Tensor]:
        """The `n` most probable sequences of each row, best first, and their log-probabilities, without gradients.

        Returns:
            Tags `[n, T, B]`, -1 beyond a row's length, and log-probabilities `[n, B]`. Where a row has fewer sequences,
            the rest has tags of -1 and a log-probability of -inf.

        Example:
            >>> tags, log_probabilities = LinearChainCRF(2).n_best(torch.tensor([[[0.0, 1.0]]]), n=3)
            >>> tags.flatten(), log_probabilities.exp().flatten()
            (tensor([ 1,  0, -1]), tensor([0.7311, 0.2689, 0.0000]))
        """
        checked_number(n, "n")
        chain = self._chain(scores, lengths)
        tags, totals = viterbi.n_best(chain, n)
        refuse_impossible(chain, totals[0])
        there = totals > IMPOSSIBLE
        log_probabilities = torch.where(there, totals - log_partition(chain), -torch.inf)
        tags = torch.where(there[:, None] & chain.valid, tags, -1)[:, : len(scores)]
        return tags, log_probabilities.to(self._result_type(scores))

    def extra_repr(self) -> str:
        """Number of tags, and of what is forbidden."""
        masks = {"begins": self.may_begin, "transitions": self.may_follow, "ends": self.may_end}
        if self.transitions.is_meta:
            return str(self.num_tags)
        counts = {name: int((~mask).sum()) for name, mask in masks.items()}
        return ", ".join(
            [str(self.num_tags), *(f"{count} {name} forbidden" for name, count in counts.items() if count)]
        )

    def _result_type(self, scores: Tensor) -> torch.dtype:
        widest = torch.promote_types(scores.dtype, self.transitions.dtype)
        return torch.promote_types(widest, torch.float32)

    def _chain(self, scores: Tensor, lengths: Lengths) -> Chain:
        """What the recursions see: wide numbers, what is forbidden among them, and nothing beyond a row's length."""
        if scores.dim() != 3 or scores.shape[2] != self.num_tags:
            raise ShapeError(
                f"scores must be [T, B, K] with K = {self.num_tags}, a number for each step, row and tag, found "
                f"{list(scores.shape)}; time comes first: pass `scores.transpose(0, 1)` if the batch does"
            )
        if not scores.is_floating_point():
            raise ShapeError(f"scores must be floating-point numbers, found {scores.dtype}; pass `scores.float()`")
        T, B, K = scores.shape
        rows = None if lengths is None else checked_lengths(lengths, scores)
        rows = torch.full((B,), T, device=scores.device) if rows is None else rows
        wide = _computed_in(scores.device)
        # A recursion begins with a first step; where there are none, no row reaches this one.
        scores = scores.to(wide) if T else torch.cat([scores.to(wide), scores.new_zeros(1, B, K, dtype=wide)])
        chain = Chain(
            scores,
            _with_forbidden(self.begin.to(wide), self.may_begin),
            _with_forbidden(self.transitions.to(wide), self.may_follow),
            _with_forbidden(self.end.to(wide), self.may_end),
            rows,
        )
        return chain._replace(scores=torch.where(chain.valid[:, :, None], scores.clamp(min=FORBIDDEN), 0.0))


def _computed_in(device: torch.device) -> torch.dtype:
    # Apple's GPUs have no float64. Elsewhere it costs little, and leaves products room for wide scores.
    return torch.float32 if device.type == "mps" else torch.float64


def _with_forbidden(weights: Tensor, allowed: Tensor) -> Tensor:
    return weights.clamp(min=FORBIDDEN).masked_fill(~allowed, FORBIDDEN)
