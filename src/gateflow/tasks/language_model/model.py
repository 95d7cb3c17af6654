"""A language model: embedding, recurrent layers or a Transformer's, and an output over the whole vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.data.stream import IGNORED, TokenStream
from gateflow.errors import ConfigError
from gateflow.layers import LockedDropout, Recurrent, Transformer
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.language_model.cross_entropy import cross_entropy, inclusion, sampled_cross_entropy
from gateflow.tasks.sequence_layers import SequenceLayers, sequence_layers

__all__ = ["STRETCHES", "LanguageModel", "columns_for", "detach", "evaluate", "perplexity"]

State = list[tuple[Tensor, ...]]
# Deviation of a word vector's components. Torch draws them with one of 1: tied to the output they would begin with
# scores of tens.
DEVIATION = 0.05
# Tokens of a stretch that is evaluated, at least: it begins with an empty state, which costs some dozens of tokens.
SHORTEST = 1000
# Stretches of a validation, at most: as many side by side as a batch has by default, so that it is as quick. Their
# number does not depend on the batch of the training, so that the figures of two trainings can be compared.
STRETCHES = 32


class LanguageModel(nn.Module):
    """Expects each token from those before it: ``p(x_t+1 | x_1 … x_t) = softmax(W · h_t + b)``.

    Args:
        vocab_size: Number of tokens ``V``.
        cell: A name of ``gateflow.cells.names()``, a class, or one of them per layer.
        embedding_size: Components of a token's vector.
        hidden_size: Units per layer, one number or one per layer.
        num_layers: Layers on top of each other.
        dropout: Share dropped from embeddings, between layers and before the output; one mask for all steps of a
            window (Gal and Ghahramani 2016, arXiv:1512.05287).
        tied: One matrix for embedding and output (Press and Wolf 2017, arXiv:1608.05859). Where the layers' output has
            another size, a linear map leads to the embedding's.
        softmax_samples: While training, normalise over about this many words drawn at random instead of all: the work
            of a large vocabulary shrinks by ``V / softmax_samples``. Evaluation always takes all. Default: all.
        model: "recurrent", or "transformer": what is carried on is then a cache of the steps it looks back to.
        layers: Further options of :class:`gateflow.Recurrent`, or of :class:`gateflow.layers.Transformer`.

    Raises:
        ConfigError: A size that cannot work, or ``bidirectional=True``.

    Shape: inputs and targets ``int64 [T, B]``.

    Example:
        >>> model = LanguageModel(10, embedding_size=4, hidden_size=8)
        >>> tokens = torch.tensor([[1, 2], [3, 4], [5, 6]])
        >>> loss, state = model(tokens[:-1], tokens[1:])
        >>> loss.shape, state[0][0].shape
        (torch.Size([]), torch.Size([2, 8]))
    """

    frequencies: Tensor
    inclusion: Tensor
    recurrent: Recurrent
    transformer: Transformer

    def __init__(
        self,
        vocab_size: int,
        *,
        cell: str | type[Cell] | Sequence[str | type[Cell]] = "lstm",
        embedding_size: int = 200,
        hidden_size: int | Sequence[int] = 200,
        num_layers: int | None = 2,
        dropout: float = 0.0,
        tied: bool = True,
        softmax_samples: int | None = None,
        model: str = "recurrent",
        **layers: Any,
    ) -> None:
        super().__init__()
        _check(layers, vocab_size=vocab_size, embedding_size=embedding_size, softmax_samples=softmax_samples)
        self.softmax_samples = vocab_size if softmax_samples is None else min(softmax_samples, vocab_size)
        if model != "transformer":
            layers["cell"] = cell
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.dropout = LockedDropout(dropout)
        found = sequence_layers(
            model,
            embedding_size,
            hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            causal=True,
            input_scale=1 / DEVIATION,
            **layers,
        )
        # Named after what it is: weights of a run have this name.
        self.kind = model
        self.add_module(model, found)
        width = found.output_size
        # A tied output multiplies with word vectors, so what it reads must be as wide as they are.
        fits = not tied or width == embedding_size
        self.projection = nn.Identity() if fits else nn.Linear(width, embedding_size)
        self.output = self.embedding if tied else nn.Embedding(vocab_size, width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        # One matrix if tied, drawn once. No set: its order, and so who draws first, differs from process to process.
        for words in dict.fromkeys((self.embedding, self.output)):
            nn.init.normal_(words.weight, std=DEVIATION)
        # Buffers, so that a checkpoint holds them: the same words are drawn after a resume.
        self.register_buffer("frequencies", torch.empty(vocab_size))
        self.register_buffer("inclusion", torch.empty(vocab_size))
        self.fit_frequencies(torch.zeros(vocab_size))

    @property
    def layers(self) -> SequenceLayers:
        """Recurrent layers, or a Transformer."""
        return getattr(self, self.kind)

    @torch.no_grad()
    def fit_frequencies(self, counts: Tensor) -> None:
        """Start from how often each token occurs, ``[V]``: the output's bias becomes the logarithm of its share.

        So the first epoch need not learn it, and samples are drawn accordingly. Every token counts a tenth more than
        it was seen, so that none is impossible.
        """
        # In float64: a tenth added to a count of a billion would be lost in float32.
        seen = counts.double() + 0.1
        self.frequencies.copy_(seen / seen.sum())
        self.inclusion.copy_(inclusion(self.frequencies, self.softmax_samples))
        self.bias.copy_(self.frequencies.log())

    def forward(self, inputs: Tensor, targets: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the mean cross-entropy over the targets, in nats, and the state after the last step.

        Targets of -100 do not count. While training with fewer samples than words the value is an estimate.
        """
        hidden, last = self.hidden(inputs, state)
        hidden, targets = hidden.flatten(0, 1), targets.flatten()
        if self.training and self.softmax_samples < len(self.bias):
            # A sample has no place for a target that is none.
            counted = targets != IGNORED
            sample = self.frequencies, self.inclusion
            return sampled_cross_entropy(hidden[counted], *self._words(), targets[counted], *sample), last
        return cross_entropy(hidden, *self._words(), targets), last

    def hidden(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the layers over ``inputs [T, B]``: what the output layer sees, ``[T, B, E]``, and the last state."""
        return self.read(self.embedding(inputs), state)

    def read(self, vectors: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As `hidden`, of the vectors of tokens ``[T, B, E]``."""
        # One mask for all steps of a window, as Gal and Ghahramani have it.
        output, last = self.layers(self.dropout(vectors), state)
        return self.dropout(self.projection(output)), last

    def scores(self, hidden: Tensor) -> Tensor:
        """Return a score for every token of the vocabulary, ``[..., V]``, from ``hidden [..., E]``."""
        return nn.functional.linear(hidden, *self._words())

    def next_logits(self, token_ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one token per row, ``[B]``: scores ``[B, V]`` of the token that follows, and the new state."""
        output, last = self.layers.step(self.embedding(token_ids), state)
        return self.scores(self.projection(output)), last

    def _words(self) -> tuple[Tensor, Tensor]:
        return self.output.weight, self.bias


def detach(state: State | None) -> State | None:
    """Cut the graph behind a state: values are carried on, gradients are not (truncated back-propagation).

    Example:
        >>> detach([(torch.ones(1, 2, requires_grad=True),)])[0][0].requires_grad
        False
    """
    return None if state is None else [tuple(part.detach() for part in parts) for parts in state]


def columns_for(tokens: int, most: int) -> int:
    """In how many stretches a text is evaluated: at most so many, and each of a thousand tokens or more.

    Example:
        >>> columns_for(500, 10), columns_for(5_001, 10), columns_for(200_000, 10)
        (1, 5, 10)
    """
    return max(1, min(most, (tokens - 1) // SHORTEST))


@torch.no_grad()
def evaluate(model: LanguageModel, stream: TokenStream) -> tuple[float, int]:
    """Return the summed cross-entropy of a text in nats and the number of tokens predicted.

    The softmax runs over the whole vocabulary, in fp32, and the state is carried through the whole text. To predict
    every token but the first, give a ``TokenStream(..., whole=True)``.

    Example:
        >>> import tempfile, numpy
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     numpy.save(f"{folder}/text.npy", numpy.arange(9, dtype=numpy.uint16))
        ...     stream = TokenStream(f"{folder}/text.npy", batch_size=3, window=2, whole=True)
        ...     nll, count = evaluate(LanguageModel(9, embedding_size=4, hidden_size=4), stream)
        >>> count, 1 < perplexity(nll, count) < 20
        (8, True)
    """
    device, total, count, state = model.bias.device, 0.0, 0, None
    with evaluating(model), torch.autocast(device.type, enabled=False):
        # One of many processes may have no column of a short text.
        for inputs, targets in stream.windows() if stream.columns else ():
            counted = int((targets != IGNORED).sum())
            mean, state = model(inputs.to(device), targets.to(device), state)
            # A window beyond the end of every column has no target, and its mean is NaN.
            total, count = total + (mean.item() * counted if counted else 0.0), count + counted
    return total, count


def perplexity(nll: float, count: int) -> float:
    """Perplexity of a text with summed cross-entropy ``nll`` in nats, per token or per word, whichever is counted.

    Example:
        >>> round(perplexity(nll=9 * math.log(50), count=9), 6)
        50.0
    """
    return math.exp(min(nll / count, 700))  # e^709 is the largest double; a model that has diverged has a figure too


def _check(layers: dict[str, Any], **sizes: int | None) -> None:
    if layers.get("bidirectional"):
        raise ConfigError(
            "A language model cannot be bidirectional: its backward direction reads the very tokens that are to be "
            "predicted, and a text is generated from left context only. Leave bidirectional out."
        )
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ConfigError(f"{name} must be at least 1, not {size}.")
