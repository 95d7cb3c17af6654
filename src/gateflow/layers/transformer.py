"""A Transformer with the call of recurrent layers, to stand where they do: what it carries on is a cache of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.errors import ConfigError, ShapeError
from gateflow.layers.sequences import checked_lengths

__all__ = ["Cache", "Transformer", "rotated"]

Cache = tuple[Tensor, Tensor]
"""Keys and values of the steps that a layer still looks back to, ``[S, B, H]`` each; keys are not rotated yet."""

# Of the angles by which positions turn: as in the source of rotary positions, and in whatever followed it.
BASE = 10_000.0


def rotated(x: Tensor, first: int) -> Tensor:
    """Turn each pair of components by an angle that grows with the position: products then tell distances alone.

    ``(x_i, x_{i + d/2})`` at position ``p`` is turned by ``p · 10000^(-2i/d)``.

    Args:
        x: ``[..., T, D]``, `D` even.
        first: position of the first step.

    Example:
        >>> x = torch.ones(1, 4)
        >>> turned = [rotated(x, p) for p in (3, 5, 7)]
        >>> torch.allclose(turned[0] @ turned[1].T, turned[1] @ turned[2].T)  # both are two steps apart
        True

    Source: Su, Lu, Pan, Murtadha, Wen, Liu (2021). RoFormer: enhanced transformer with rotary position embedding.
    arXiv:2104.09864.
    """
    half = x.shape[-1] // 2
    speeds = BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    positions = torch.arange(first, first + x.shape[-2], device=x.device, dtype=torch.float32)
    angles = torch.outer(positions, speeds)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class Transformer(nn.Module):
    """Layers of self-attention: each step looks at all steps that it may look at, and none is carried through others.

    ``x = x + attention(norm(x))``, ``x = x + W₂ gelu(W₁ norm(x))`` in each layer, and a norm at the end; positions are
    rotary, so that there is no longest sequence.

    Args:
        input_size: features `I` of a step. Where they are not `hidden_size`, a linear map leads to it.
        hidden_size: features `H` of an output.
        num_layers: layers on top of each other.
        heads: of attention; each has ``H / heads`` components, an even number.
        causal: whether a step sees none that come after it; without it all see all, as an encoder's do.
        context: how many steps before it a step looks back, and as many are carried on; all if left out. Of `causal`.
        feedforward_size: units between the two maps; four times `hidden_size` if left out.
        dropout: share dropped of what attention and maps add.

    Shape:
        * input ``[T, B, I]``; lengths ``[B]``, integers from 0 to `T`. What lies beyond a row's length is never seen,
          be it NaN, and its output is zero.
        * output ``[T, B, H]``; the state a `Cache` for each layer.

    Raises:
        ConfigError: sizes that cannot work.
        ShapeError: an input or lengths that do not fit.

    Example:
        >>> layers = Transformer(3, 8, num_layers=2, heads=2).eval()
        >>> x = torch.randn(5, 1, 3)
        >>> whole, _ = layers(x)
        >>> first, state = layers(x[:4])
        >>> last, state = layers.step(x[4], state)
        >>> torch.allclose(last, whole[4], atol=1e-6)
        True

    Source: Vaswani et al. (2017). Attention is all you need. NeurIPS. arXiv:1706.03762. Norms come first: Xiong et al.
    (2020). On layer normalization in the Transformer architecture. ICML. arXiv:2002.04745. A cache over stretches of a
    text: Dai et al. (2019). Transformer-XL. ACL. arXiv:1901.02860.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 2,
        heads: int = 4,
        causal: bool = True,
        context: int | None = None,
        feedforward_size: int | None = None,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check(input_size, hidden_size, num_layers, heads, causal, context, feedforward_size)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.input_size, self.output_size, self.causal, self.context = input_size, hidden_size, causal, context
        same = input_size == hidden_size
        self.map = nn.Identity() if same else nn.Linear(input_size, hidden_size, **place)
        width = feedforward_size or 4 * hidden_size
        self.layers = nn.ModuleList(
            _Layer(hidden_size, heads, width, dropout, causal, place) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, **place)

    def forward(
        self, input: Tensor, state: list[Cache] | None = None, *, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, list[Cache]]:
        """Outputs and what later steps look back to; see the class for shapes."""
        self._check_input(input, lengths, state)
        rows, there = None if lengths is None else checked_lengths(lengths, input), None
        if rows is not None:
            there = torch.arange(len(input), device=input.device)[:, None] < rows
            # Before anything is computed: a NaN times zero is one.
            input = torch.where(there[..., None], input, 0.0)
        before = 0 if state is None else len(state[0][0])
        mask, x, caches = self._mask(len(input), before, there), self.map(input), []
        for i, layer in enumerate(self.layers):
            x, cache = layer(x, None if state is None else state[i], mask)
            caches.append(self._kept(cache))
        x = self.norm(x)
        return (x if there is None else torch.where(there[..., None], x, 0.0)), caches

    def step(self, input: Tensor, state: list[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        """One step ``[B, I]``: its output ``[B, H]``, as `forward` has it, and the state with it.

        Raises:
            ConfigError: the layers are not causal.
        """
        if not self.causal:
            raise ConfigError("a Transformer with causal=False sees what comes after a step; give it whole sequences.")
        output, last = self(input[None], state)
        return output[0], last

    def _mask(self, steps: int, before: int, there: Tensor | None) -> Tensor | None:
        """Which steps are seen from each, ``[T, S]`` or ``[B, 1, T, S]``; none if all are, or all up to itself."""
        if there is None and (not self.causal or (before == 0 and (self.context is None or steps <= self.context + 1))):
            return None
        device = self.norm.weight.device
        query = torch.arange(before, before + steps, device=device)[:, None]
        key = torch.arange(before + steps, device=device)
        seen = torch.ones(steps, before + steps, dtype=torch.bool, device=device)
        if self.causal:
            seen = (key <= query) & (key >= query - (before + steps if self.context is None else self.context))
        if there is None:
            return seen
        # A step that is not there sees itself, which is zero: a softmax over nothing would be NaN.
        return ((seen & there.T[:, None]) | (key == query))[:, None]

    def _kept(self, cache: Cache) -> Cache:
        keys, values = cache
        if self.context is None:
            return cache
        first = max(0, len(keys) - self.context)
        return keys[first:], values[first:]

    def _check_input(self, input: Tensor, lengths: Any, state: list[Cache] | None) -> None:
        if input.dim() != 3 or input.shape[-1] != self.input_size or not len(input):
            raise ShapeError(f"input must be [T, B, {self.input_size}] with T ≥ 1, found {list(input.shape)}.")
        if lengths is not None and state is not None:
            raise ShapeError("lengths are those of whole sequences, and a state is carried on; give one of the two.")
        if state is None:
            return
        if not self.causal:
            raise ShapeError(
                "with causal=False each step sees all others, and none can be carried on; leave state out."
            )
        if len(state) != len(self.layers) or any(
            part.dim() != 3 or part.shape[1:] != (input.shape[1], self.output_size) for cache in state for part in cache
        ):
            raise ShapeError(
                f"state must hold keys and values [S, {input.shape[1]}, {self.output_size}] of {len(self.layers)} "
                "layers, as an earlier call has given it."
            )


class _Layer(nn.Module):
    def __init__(self, size: int, heads: int, width: int, dropout: float, causal: bool, place: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm, self.norm = nn.LayerNorm(size, **place), nn.LayerNorm(size, **place)
        self.projection, self.out = nn.Linear(size, 3 * size, **place), nn.Linear(size, size, **place)
        self.widen, self.narrow = nn.Linear(size, width, **place), nn.Linear(width, size, **place)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Cache | None, mask: Tensor | None) -> tuple[Tensor, Cache]:
        query, key, value = self.projection(self.attention_norm(x)).chunk(3, -1)
        if state is not None:
            key, value = torch.cat([state[0], key]), torch.cat([state[1], value])
        x = x + self.dropout(self.out(self._attended(query, key, value, mask)))
        return x + self.dropout(self.narrow(F.gelu(self.widen(self.norm(x))))), (key, value)

    def _attended(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What each query finds, ``[T, B, H]``."""
        of_heads = [x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3) for x in (query, key, value)]
        before = len(key) - len(query)
        # Distances alone count, so positions may begin with the oldest step that is kept.
        found = F.scaled_dot_product_attention(
            rotated(of_heads[0], before),
            rotated(of_heads[1], 0),
            of_heads[2],
            attn_mask=mask,
            is_causal=mask is None and self.causal,
        )
        return found.permute(2, 0, 1, 3).flatten(-2)


def _check(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    heads: int,
    causal: bool,
    context: int | None,
    feedforward_size: int | None,
) -> None:
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "heads": heads}
    for name, size in {**sizes, "feedforward_size": feedforward_size}.items():
        if size is not None and size < 1:
            raise ConfigError(f"{name} must be at least 1, found {size}.")
    if hidden_size % (2 * heads):
        raise ConfigError(
            f"hidden_size {hidden_size} gives {heads} heads {hidden_size / heads:g} components each, and rotary "
            f"positions take pairs of them; take a multiple of {2 * heads}, or other heads."
        )
    if context is not None and (context < 1 or not causal):
        raise ConfigError(f"context is how far causal layers look back, 1 or more; found {context}, causal={causal}.")
