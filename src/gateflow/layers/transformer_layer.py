"""One layer of a Transformer: attention to its own steps, to a memory if there is one, and two maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.layers.attention import Attended
from gateflow.layers.rotary import rotated

__all__ = ["Cache", "LayerOutput", "TransformerLayer"]

Cache = tuple[Tensor, ...]
"""Keys and values of the steps that a layer still looks back to, ``[B, S, H]`` each; keys are not rotated yet."""


class LayerOutput(NamedTuple):
    """What a layer makes of some steps: outputs ``[T, B, H]``, a cache with them, and weights ``[T, B, S]``."""

    x: Tensor
    cache: Cache
    weights: Tensor | None


class TransformerLayer(nn.Module):
    """A layer with its norms first; see `gateflow.layers.Transformer` for its equations.

    Args:
        size: components `H` of a step.
        heads: of attention.
        width: units between the two maps.
        dropout: share dropped of what attention and maps add.
        causal: whether a step sees none that come after it, where no mask says more.
        memory_size: components of a step of the memory; none without one.
        place: device and type of the weights.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        width: int,
        *,
        dropout: float,
        causal: bool,
        memory_size: int | None,
        place: dict[str, Any],
    ) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm, self.norm = nn.LayerNorm(size, **place), nn.LayerNorm(size, **place)
        self.projection, self.out = nn.Linear(size, 3 * size, **place), nn.Linear(size, size, **place)
        self.memory = None if memory_size is None else _MemoryAttention(size, heads, memory_size, place)
        self.widen, self.narrow = nn.Linear(size, width, **place), nn.Linear(width, size, **place)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Cache | None, mask: Tensor | None, attended: Attended | None) -> LayerOutput:
        """Steps ``[T, B, H]`` behind those of a cache; with a memory as `attended` has made it ready."""
        query, key, value = (part.transpose(0, 1) for part in self.projection(self.attention_norm(x)).chunk(3, -1))
        # As wide as the weights, also under autocast: what is carried on is compared with that.
        key, value = key.to(self.norm.weight.dtype), value.to(self.norm.weight.dtype)
        if state is not None:
            key, value = torch.cat([state[0], key], 1), torch.cat([state[1], value], 1)
        x = x + self.dropout(self.out(self._own_steps(query, key, value, mask)))
        weights = None
        if self.memory is not None and attended is not None:
            found, weights = self.memory(x, attended)
            x = x + self.dropout(found)
        return LayerOutput(x + self.dropout(self.narrow(F.gelu(self.widen(self.norm(x))))), (key, value), weights)

    def _own_steps(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What each query finds, ``[T, B, H]``."""
        # Distances alone count, so positions may begin with the oldest step that is kept.
        query = rotated(_of_heads(query, self.heads), key.shape[1] - query.shape[1]).to(key.dtype)
        key, value = rotated(_of_heads(key, self.heads), 0), _of_heads(value, self.heads)
        causal = mask is None and self.causal
        return _joined(F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal))


class _MemoryAttention(nn.Module):
    """What steps find in a memory: ``softmax(q · k / √d) v`` in each head; the weights shown are their mean."""

    def __init__(self, size: int, heads: int, memory_size: int, place: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(size, **place)
        self.query, self.out = nn.Linear(size, size, **place), nn.Linear(size, size, **place)
        self.pair = nn.Linear(memory_size, 2 * size, **place)

    def attended(self, values: Tensor, beyond: Tensor) -> Attended:
        """A memory ``[B, S, M]`` as keys and values, made once for all steps that will look at it."""
        keys, found = self.pair(values).chunk(2, -1)
        return Attended(keys, found, beyond)

    def forward(self, x: Tensor, attended: Attended) -> tuple[Tensor, Tensor]:
        query = _of_heads(self.query(self.norm(x)).transpose(0, 1), self.heads)
        key, value = _of_heads(attended.keys, self.heads), _of_heads(attended.values, self.heads)
        scores, beyond = query @ key.mT / query.shape[-1] ** 0.5, attended.beyond[:, None, None]
        # As in `Attention`: a row of length 0 would be NaN by minus infinity; its weights are then zero.
        least = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(beyond, least).softmax(-1).masked_fill(beyond, 0.0)
        return self.out(_joined(weights.to(value.dtype) @ value)), weights.mean(1).transpose(0, 1)


def _of_heads(x: Tensor, heads: int) -> Tensor:
    """``[B, T, H]`` to ``[B, heads, T, H / heads]``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """``[B, heads, T, D]`` to ``[T, B, heads · D]``."""
    return x.permute(2, 0, 1, 3).flatten(-2)
