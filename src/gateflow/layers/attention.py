"""Attention of a decoder to what an encoder has read, and the pointer that copies from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.errors import ConfigError, ShapeError
from gateflow.layers.sequences import checked_lengths

__all__ = ["Attended", "Attention", "PointerGenerator", "rows_of_memory"]

Score = Literal["dot", "general", "additive"]
SCORES = ("dot", "general", "additive")


@dataclass(frozen=True)
class Attended:
    """A memory as queries find it: made once, and asked at each step.

    Attributes:
        keys: `[B, S, K]`, what queries are compared with.
        values: `[B, S, M]`, zero beyond a row's length.
        beyond: `[B, S]`, true there.

    Example:
        >>> attention = Attention(4, 6)
        >>> ready = attention.attended(torch.ones(5, 3, 6))
        >>> found, weights = attention.find(torch.zeros(1, 3, 4), ready)
        >>> found.shape, ready.select(torch.tensor([2, 2])).values.shape
        (torch.Size([1, 3, 6]), torch.Size([2, 5, 6]))
    """

    keys: Tensor
    values: Tensor
    beyond: Tensor

    def select(self, rows: Tensor) -> Self:
        """The memories of these rows, in their order; a row may come several times."""
        return type(self)(self.keys[rows], self.values[rows], self.beyond[rows])


class Attention(nn.Module):
    """What a query finds in a memory: a mean of its steps, each weighted by how well it fits.

    ``a_ts = softmax_s(score(q_t, m_s))``, ``c_t = Σ_s a_ts m_s``, where the score is

    * ``dot``: ``q · m``, which takes queries as wide as the memory,
    * ``general``: ``q · W m``,
    * ``additive``: ``v · tanh(W q + U m + b)``.

    Args:
        query_size: size `Q` of a query.
        memory_size: size `M` of a step of the memory.
        score: "dot", "general" or "additive".
        hidden_size: size of the sum within the tanh; that of the query if left out. Of "additive" alone.
        device, dtype: where and in what precision the weights live.

    Shape:
        * query `[T, B, Q]`, memory `[S, B, M]`.
        * lengths: `[B]` integers from 0 to `S`. What lies beyond a row's length has no weight and is never seen, be it
          NaN; a row of length 0 finds zeros.
        * output: `[T, B, M]`, and the weights `[T, B, S]`, which sum to 1 over the steps of a row.

    Raises:
        ConfigError: there is no such score, or sizes that it cannot compare.
        ShapeError: query, memory or lengths do not fit.

    Example:
        >>> attention = Attention(4, 6, "additive")
        >>> found, weights = attention(torch.zeros(2, 3, 4), torch.ones(5, 3, 6), torch.tensor([5, 2, 1]))
        >>> found.shape, weights[0, 1].tolist()
        (torch.Size([2, 3, 6]), [0.5, 0.5, 0.0, 0.0, 0.0])

    Source: dot and general: Luong, Pham, Manning (2015). Effective approaches to attention-based neural machine
    translation. EMNLP. arXiv:1508.04025. Additive: Bahdanau, Cho, Bengio (2015). Neural machine translation by jointly
    learning to align and translate. ICLR. arXiv:1409.0473.
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        score: Score = "general",
        *,
        hidden_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if score not in SCORES:
            raise ConfigError(f"score must be one of {', '.join(SCORES)}; found {score!r}")
        if score == "dot" and query_size != memory_size:
            raise ConfigError(
                f'score="dot" compares sizes that are equal, and queries have {query_size}, the memory {memory_size}; '
                'choose score="general"'
            )
        for name, size in (("query_size", query_size), ("memory_size", memory_size), ("hidden_size", hidden_size)):
            if size is not None and size < 1:
                raise ConfigError(f"{name} must be at least 1, found {size}")
        if hidden_size is not None and score != "additive":
            raise ConfigError(f'hidden_size belongs to score="additive", and the score is "{score}"; leave it out')
        self.query_size, self.memory_size, self.score = query_size, memory_size, score
        place = {"device": device, "dtype": dtype}
        if score == "general":
            self.key = nn.Linear(memory_size, query_size, bias=False, **place)
        if score == "additive":
            width = hidden_size or query_size
            self.key = nn.Linear(memory_size, width, **place)
            self.query = nn.Linear(query_size, width, bias=False, **place)
            self.energy = nn.Linear(width, 1, bias=False, **place)

    def forward(
        self, query: Tensor, memory: Tensor, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """What each query finds, and its weights; see the class for shapes."""
        return self.find(query, self.attended(memory, lengths))

    def attended(self, memory: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Attended:
        """A memory that many queries will ask, made ready once."""
        if memory.dim() != 3 or memory.shape[-1] != self.memory_size:
            raise ShapeError(f"memory must be [S, B, M] with M = {self.memory_size}, found {list(memory.shape)}")
        values, beyond = rows_of_memory(memory, lengths)
        return Attended(values if self.score == "dot" else self.key(values), values, beyond)

    def find(self, query: Tensor, attended: Attended) -> tuple[Tensor, Tensor]:
        """As `forward`, of a memory that is ready."""
        if query.dim() != 3 or query.shape[1:] != (len(attended.values), self.query_size):
            wanted = f"[T, {len(attended.values)}, {self.query_size}]"
            raise ShapeError(f"query must be {wanted}, found {list(query.shape)}")
        scores = self._scores(query.transpose(0, 1), attended.keys)
        # The least number and not minus infinity, of which a row of length 0 would make NaN; its weights are then zero.
        least = torch.finfo(scores.dtype).min
        beyond = attended.beyond[:, None]
        weights = scores.masked_fill(beyond, least).softmax(-1).masked_fill(beyond, 0.0)
        return (weights @ attended.values).transpose(0, 1), weights.transpose(0, 1)

    def _scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """``[B, T, S]`` for queries ``[B, T, Q]``."""
        if self.score != "additive":
            return query @ keys.mT
        return self.energy(torch.tanh(self.query(query)[:, :, None] + keys[:, None]))[..., 0]

    def extra_repr(self) -> str:
        """Sizes and score."""
        return f"{self.query_size}, {self.memory_size}, score={self.score!r}"


def rows_of_memory(memory: Tensor, lengths: Tensor | Sequence[int] | None) -> tuple[Tensor, Tensor]:
    """A memory ``[S, B, M]`` as ``[B, S, M]``, zero beyond each row's length, and where that is, ``[B, S]``.

    Raises:
        ShapeError: the lengths do not fit.
    """
    S, B = memory.shape[:2]
    rows = None if lengths is None else checked_lengths(lengths, memory)
    if rows is None:
        rows = torch.full((B,), S, device=memory.device)
    beyond = torch.arange(S, device=memory.device) >= rows[:, None]
    # Filled, and not only given no weight: 0 times NaN is NaN.
    return memory.transpose(0, 1).masked_fill(beyond[..., None], 0.0), beyond


class PointerGenerator(nn.Module):
    """Each token is taken from the vocabulary or copied from the source.

    ``p(w) = g softmax(z)_w + (1 - g) Σ_{s: source_s = w} a_s`` with ``g = σ(w · f + b)``: scores ``z``, weights of
    attention ``a`` and features ``f`` of a step. Source tokens may have numbers beyond the vocabulary, so that a word
    that is in no vocabulary can be copied.

    Args:
        feature_size: size `F` of what decides between the two.
        device, dtype: where and in what precision the weights live.

    Shape:
        * scores `[T, B, V]`, weights `[T, B, S]` that sum to 1, features `[T, B, F]`.
        * source: `[S, B]`, numbers from 0 to `V + extra - 1`.
        * output: logarithms of probabilities `[T, B, V + extra]`; minus infinity of a number beyond the vocabulary that
          the row's source does not have.

    Raises:
        ShapeError: source does not fit the weights, or has other numbers (those are looked at on a CPU only).

    Example:
        >>> pointer = PointerGenerator(2)
        >>> source = torch.tensor([[3], [4], [3]])
        >>> found = pointer(torch.zeros(1, 1, 4), torch.ones(1, 1, 3) / 3, source, torch.zeros(1, 1, 2), extra=1)
        >>> bool((found.exp().sum() - 1).abs() < 1e-6), found.argmax().item()
        (True, 3)

    Source: See, Liu, Manning (2017). Get to the point: summarization with pointer-generator networks. ACL.
    arXiv:1704.04368.
    """

    def __init__(
        self, feature_size: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ):
        super().__init__()
        if feature_size < 1:
            raise ConfigError(f"feature_size must be at least 1, found {feature_size}")
        self.gate = nn.Linear(feature_size, 1, device=device, dtype=dtype)

    def forward(self, scores: Tensor, weights: Tensor, source: Tensor, features: Tensor, extra: int = 0) -> Tensor:
        """Logarithms of the probabilities; see the class for shapes."""
        if source.shape != (weights.shape[-1], weights.shape[1]):
            raise ShapeError(
                f"source must be [S, B] = {[weights.shape[-1], weights.shape[1]]}, found {list(source.shape)}"
            )
        self._refuse_strangers(source, scores.shape[-1] + extra)
        gate = self.gate(features)
        # Under autocast products may be of 16 bits, which are too few for sums of probabilities.
        wide = torch.promote_types(scores.dtype, torch.float32)
        scores, weights, gate = scores.to(wide), weights.to(wide), gate.to(wide)
        generated = F.pad(scores.log_softmax(-1) + F.logsigmoid(gate), (0, extra), value=-torch.inf)
        places = source.T.expand(len(weights), -1, -1)
        copied = torch.zeros_like(generated).scatter_add(-1, places, weights)
        # Of zero the logarithm has no derivative, and 0 times infinity is NaN; so little is nothing beside any other.
        copied = copied.clamp_min(torch.finfo(copied.dtype).tiny).log() + F.logsigmoid(-gate)
        return torch.logaddexp(generated, copied).masked_fill(
            self._of_others(source, scores.shape[-1], extra), -torch.inf
        )

    @staticmethod
    def _refuse_strangers(source: Tensor, count: int) -> None:
        # On a GPU the values are not looked at: that would wait for it at each call.
        if source.device.type != "cpu" or torch.compiler.is_compiling() or not source.numel():
            return
        low, high = (int(value) for value in source.aminmax())
        if low < 0 or high >= count:
            raise ShapeError(
                f"source must hold numbers from 0 to V + extra - 1 = {count - 1}, found {low if low < 0 else high}; "
                "`extra` is how many numbers there are beyond the vocabulary"
            )

    @staticmethod
    def _of_others(source: Tensor, size: int, extra: int) -> Tensor:
        """``[B, V + extra]``: numbers beyond the vocabulary that other rows of the batch have."""
        own = torch.zeros(source.shape[1], size + extra, dtype=torch.bool, device=source.device)
        own = own.scatter(1, source.T, True)
        own[:, :size] = True
        return ~own
