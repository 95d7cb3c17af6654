"""A Transformer with the call of recurrent layers, to stand where they do: what it carries on is a cache of steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, ShapeError
from gateflow.layers.attention import Attended, rows_of_memory
from gateflow.layers.sequences import checked_lengths
from gateflow.layers.transformer_layer import Cache, TransformerLayer

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """Layers of self-attention: each step looks at all steps that it may look at, and none is carried through others.

    ``x = x + attention(norm(x))``, ``x = x + W₂ gelu(W₁ norm(x))`` in each layer, and a norm at the end; positions are
    rotary, so that there is no longest sequence. With a memory there is ``x = x + attention(norm(x), memory)`` between
    the two, which knows no positions.

    Args:
        input_size: features `I` of a step. Where they are not `hidden_size`, a linear map leads to it.
        hidden_size: features `H` of an output.
        num_layers: layers on top of each other.
        heads: of attention; each has ``H / heads`` components, an even number.
        causal: whether a step sees none that come after it; without it all see all, as an encoder's do.
        context: how many steps before it a step looks back, and as many are carried on; all if left out. Of `causal`.
        feedforward_size: units between the two maps; four times `hidden_size` if left out.
        memory_size: features `M` of a step of a memory that `decode` looks at, such as an encoder's outputs.
        input_scale: what inputs are multiplied by; vectors of words are small where they are weights of scores as well,
            and would vanish beside what the layers add to them.
        dropout: share dropped of what attention and maps add.

    Shape:
        * input ``[T, B, I]``; lengths ``[B]``, integers from 0 to `T`. What lies beyond a row's length is never seen,
          be it NaN, and its output is zero.
        * output ``[T, B, H]``; the state a `Cache` for each layer, and empty of a call with lengths: rows that end at
          different steps have caches of different lengths.

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
        memory_size: int | None = None,
        input_scale: float = 1.0,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check(input_size, hidden_size, num_layers, heads, causal, context, feedforward_size, memory_size)
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.input_size, self.output_size, self.causal, self.context = input_size, hidden_size, causal, context
        self.memory_size, self.input_scale = memory_size, input_scale
        same = input_size == hidden_size
        self.map = nn.Identity() if same else nn.Linear(input_size, hidden_size, **place)
        options: dict[str, Any] = {"dropout": dropout, "causal": causal, "memory_size": memory_size, "place": place}
        width = feedforward_size or 4 * hidden_size
        self.layers = nn.ModuleList(TransformerLayer(hidden_size, heads, width, **options) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_size, **place)

    def forward(
        self, input: Tensor, state: Sequence[Cache] | None = None, *, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, list[Cache]]:
        """Outputs and what later steps look back to; see the class for shapes."""
        self._check_input(input, lengths, state)
        if self.memory_size is not None:
            raise ShapeError("a Transformer with memory_size looks at a memory; call `attended` and then `decode`.")
        rows, there = None if lengths is None else checked_lengths(lengths, input), None
        if rows is not None:
            there = torch.arange(len(input), device=input.device)[:, None] < rows
            # Before anything is computed: a NaN times zero is one.
            input = torch.where(there[..., None], input, 0.0)
        x, caches, _ = self._run(input, state, there, None)
        # Later steps would look back to those beyond a row's end: no state is better than one with them.
        return (x, caches) if there is None else (torch.where(there[..., None], x, 0.0), [])

    def step(self, input: Tensor, state: Sequence[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        """One step ``[B, I]``: its output ``[B, H]``, as `forward` has it, and the state with it.

        Raises:
            ConfigError: the layers are not causal.
        """
        if not self.causal:
            raise ConfigError("a Transformer with causal=False sees what comes after a step; give it whole sequences.")
        output, last = self(input[None], state)
        return output[0], last

    def attended(self, memory: Tensor, lengths: Tensor | Sequence[int] | None = None) -> list[Attended]:
        """A memory ``[S, B, M]`` made ready for each layer, for many calls of `decode`.

        Raises:
            ShapeError: the memory or its lengths do not fit.
        """
        if self.memory_size is None or memory.dim() != 3 or memory.shape[-1] != self.memory_size:
            raise ShapeError(f"memory must be [S, B, M] with M = {self.memory_size}, found {list(memory.shape)}.")
        values, beyond = rows_of_memory(memory, lengths)
        layers: list[Any] = list(self.layers)
        return [layer.memory.attended(values, beyond) for layer in layers]

    def decode(
        self, input: Tensor, memory: Sequence[Attended], state: Sequence[Cache] | None = None
    ) -> tuple[Tensor, Tensor, list[Cache]]:
        """Steps ``[T, B, I]`` that look at a memory as well.

        Returns:
            outputs ``[T, B, H]``, how much of each step of the memory the last layer looked at, ``[T, B, S]``, a mean
            over its heads; and the state.

        Example:
            >>> layers = Transformer(3, 8, memory_size=6)
            >>> memory = layers.attended(torch.randn(7, 2, 6), torch.tensor([7, 4]))
            >>> output, weights, state = layers.decode(torch.randn(5, 2, 3), memory)
            >>> weights.shape, weights[0, 1, 4:].tolist()
            (torch.Size([5, 2, 7]), [0.0, 0.0, 0.0])
        """
        self._check_input(input, None, state)
        if len(memory) != len(self.layers) or len(memory[0].values) != input.shape[1]:
            raise ShapeError(f"memory must be that of {input.shape[1]} rows and all layers, as `attended` gives it.")
        x, caches, weights = self._run(input, state, None, memory)
        assert weights is not None, "each layer has looked at it"
        return x, weights, caches

    def initial_state(self, like: Tensor) -> list[Cache]:
        """The state before the first step of rows as in ``like [T, B, I]``: nothing to look back to."""
        nothing = self.norm.weight.new_zeros(like.shape[1], 0, self.output_size)
        return [(nothing, nothing) for _ in self.layers]

    @contextlib.contextmanager
    def streaming(self) -> Iterator[None]:
        """As of `gateflow.Recurrent`; here a step reads the weights as they are, and prepares nothing."""
        yield

    def _run(
        self, input: Tensor, state: Sequence[Cache] | None, there: Tensor | None, memory: Sequence[Attended] | None
    ) -> tuple[Tensor, list[Cache], Tensor | None]:
        before = 0 if state is None else state[0][0].shape[1]
        mask, x = self._mask(len(input), before, there), self.map(input * self.input_scale)
        caches, weights = [], None
        for i, layer in enumerate(self.layers):
            x, cache, weights = layer(x, state and state[i], mask, memory and memory[i])
            caches.append(self._kept(cache))
        return self.norm(x), caches, weights

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
        first = max(0, keys.shape[1] - self.context)
        return keys[:, first:], values[:, first:]

    def _check_input(self, input: Tensor, lengths: Any, state: Sequence[Cache] | None) -> None:
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
        if not len(state):
            raise ShapeError(
                "state is empty, as a call with lengths gives it: rows that end at different steps go on alone."
            )
        shapes = {tuple(part.shape) for cache in state for part in cache}
        if len(state) != len(self.layers) or {(len(s), s[0], s[-1]) for s in shapes} != {
            (3, input.shape[1], self.output_size)
        }:
            raise ShapeError(
                f"state must hold keys and values [{input.shape[1]}, S, {self.output_size}] of {len(self.layers)} "
                "layers, as an earlier call has given it."
            )
        if len(shapes) > 1:
            raise ShapeError("state must hold as many steps in each layer, as an earlier call has given it.")


def _check(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    heads: int,
    causal: bool,
    context: int | None,
    feedforward_size: int | None,
    memory_size: int | None,
) -> None:
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "heads": heads}
    for name, size in {**sizes, "feedforward_size": feedforward_size, "memory_size": memory_size}.items():
        if size is not None and size < 1:
            raise ConfigError(f"{name} must be at least 1, found {size}.")
    if hidden_size % (2 * heads):
        raise ConfigError(
            f"hidden_size {hidden_size} gives {heads} heads {hidden_size / heads:g} components each, and rotary "
            f"positions take pairs of them; take a multiple of {2 * heads}, or other heads."
        )
    if context is not None and (context < 1 or not causal):
        raise ConfigError(f"context is how far causal layers look back, 1 or more; found {context}, causal={causal}.")
