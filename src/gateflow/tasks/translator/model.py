"""A translator: an encoder of the source, a decoder of the target, attention between them, and scores of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.layers import PointerGenerator
from gateflow.layers.dropout import LockedDropout
from gateflow.tasks.translator.batches import IGNORED, TranslationBatch
from gateflow.tasks.translator.coding import Decoded, DecoderState, Said
from gateflow.tasks.translator.recurrent import RecurrentDecoder, RecurrentEncoder
from gateflow.tasks.translator.transformer import TransformerDecoder, TransformerEncoder

__all__ = ["Losses", "TranslatorModel"]


@dataclass(frozen=True)
class Losses:
    """Sums over the targets of a batch.

    Attributes:
        smoothed: nats of what is learnt, labels smoothed.
        nats: of the labels themselves.
        right: targets that are the likeliest token, after right ones.
    """

    smoothed: Tensor
    nats: Tensor
    right: Tensor


class TranslatorModel(nn.Module):
    """The probability of a target, token by token, given its source.

    ``m = encoder(E x)``, ``o_t = decoder(D y_{<t}, m)``, ``p(y_t) = softmax(W o_t + b)``; with `copy` a mixture of that
    and of copying a token of the source.

    Args:
        source_size, target_size: how many tokens each side has.
        unknown: number of the unknown source token; none if there is none.
        strange: number of the target token that the decoder reads for one that was copied and is in no vocabulary.
        embedding_size: components of a token's vector.
        attention: "general", "dot", "additive" or "none".
        copy: whether tokens may be copied from the source.
        joint: whether both sides read one set of vectors: source tokens have the numbers of target tokens then.
        tied: whether the decoder's vectors are the weights of the scores as well.
        dropout: share dropped of what encoder and decoder read, hand on and give, with one mask for a sequence.
        word_dropout: share of source tokens that training reads as unknown.
        label_smoothing: share of each target that is spread over all tokens.
        model: "recurrent" or "transformer", which has no `cell`, `attention`, `input_feeding` and `bidirectional`.
        layers: options of the encoder and the decoder, see `RecurrentEncoder` and `RecurrentDecoder`, or
            `TransformerEncoder`.

    Example:
        >>> model = TranslatorModel(30, 20, hidden_size=8, embedding_size=4)
        >>> state = model.start(torch.ones(5, 2, dtype=torch.long), torch.tensor([5, 3]))
        >>> found = model.decode(torch.ones(3, 2, dtype=torch.long), state)
        >>> model.log_probabilities(found).shape, found.weights.shape
        (torch.Size([3, 2, 20]), torch.Size([3, 2, 5]))

    Source: Sutskever, Vinyals, Le (2014). Sequence to sequence learning with neural networks. NeurIPS. arXiv:1409.3215.
    Tied vectors: Press, Wolf (2017). Using the output embedding to improve language models. EACL. arXiv:1608.05859.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        unknown: int | None = None,
        strange: int = 0,
        cell: str | type[Cell] = "lstm",
        decoder_cell: str | type[Cell] | None = None,
        embedding_size: int = 128,
        attention: str = "general",
        input_feeding: bool = False,
        copy: bool = False,
        joint: bool = False,
        tied: bool = True,
        bidirectional: bool = True,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        model: str = "recurrent",
        **layers: Any,
    ) -> None:
        super().__init__()
        self.target_size, self.unknown, self.strange = target_size, unknown, strange
        self.word_dropout, self.label_smoothing = word_dropout, label_smoothing
        self.dropout = LockedDropout(dropout)
        self.target_vectors = nn.Embedding(source_size if joint else target_size, embedding_size)
        self.source_vectors = self.target_vectors if joint else nn.Embedding(source_size, embedding_size)
        for vectors in (self.source_vectors, self.target_vectors):
            # Small, since the same numbers are weights of the scores where they are tied.
            nn.init.normal_(vectors.weight, std=embedding_size**-0.5)
        same = {"embedding_size": embedding_size, "dropout": dropout, **layers}
        self.encoder: RecurrentEncoder | TransformerEncoder
        self.decoder: RecurrentDecoder | TransformerDecoder
        output_size = embedding_size if tied else None
        if model == "transformer":
            self.encoder = TransformerEncoder(**same)
            self.decoder = TransformerDecoder(self.encoder, output_size=output_size, **same)
        else:
            same["attention"] = attention
            self.encoder = RecurrentEncoder(cell=cell, bidirectional=bidirectional, **same)
            feeding = {"input_feeding": input_feeding, "output_size": output_size}
            self.decoder = RecurrentDecoder(self.encoder, cell=decoder_cell or cell, **feeding, **same)
        self.scores = nn.Linear(self.decoder.output_size, target_size)
        self.tied = tied
        if tied:
            self.scores.weight = self.target_vectors.weight
        features = embedding_size + self.decoder.feature_size
        self.pointer = PointerGenerator(features) if copy else None

    @property
    def layers(self) -> tuple[nn.Module, nn.Module]:
        """Those of the encoder and of the decoder, recurrent or a Transformer's."""
        kind = "recurrent" if self.is_recurrent else "transformer"
        return getattr(self.encoder, kind), getattr(self.decoder, kind)

    @property
    def is_recurrent(self) -> bool:
        """Whether its layers are recurrent."""
        return isinstance(self.encoder, RecurrentEncoder)

    @property
    def copies(self) -> bool:
        """Whether tokens of the source may be copied."""
        return self.pointer is not None

    @property
    def attends(self) -> bool:
        """Whether its decoder looks back at the source."""
        return self.decoder.attends

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.target_vectors.weight.device

    def forward(self, batch: TranslationBatch) -> Losses:
        """The loss of a batch, and what it is judged by."""
        state = self.start(batch.source, batch.source_lengths)
        return self.losses(self.decode(batch.inputs, state, batch.target_lengths), batch)

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """The state of a decoder that has said nothing, with what it needs of ``source [S, B]``, numbers of tokens."""
        if self.training and self.word_dropout and self.unknown is not None:
            dropped = torch.rand(source.shape, device=source.device) < self.word_dropout
            source = source.masked_fill(dropped, self.unknown)
        return self.decoder.start(self.encoder(self.dropout(self.source_vectors(source)), lengths))

    def decode(self, tokens: Tensor, state: DecoderState, lengths: Tensor | None = None) -> Decoded:
        """What the decoder makes of tokens ``[T, B]``, from the state that it is in."""
        return self.decoder(self.dropout(self.target_vectors(self.readable(tokens))), state, lengths)

    def step(self, tokens: Tensor, state: DecoderState, copies: Tensor | None = None, extra: int = 0) -> Said:
        """What comes after tokens ``[B]``; `copies` and `extra` as of `log_probabilities`."""
        found = self.decode(tokens[None], state)
        logs = self.log_probabilities(found, copies, extra)[0]
        return Said(logs, found.state, None if found.weights is None else found.weights[0])

    def readable(self, tokens: Tensor) -> Tensor:
        """Tokens as the decoder reads them: one that was copied and is in no vocabulary has no vector of its own."""
        return tokens if self.pointer is None else tokens.masked_fill(tokens >= self.target_size, self.strange)

    def log_probabilities(self, found: Decoded, copies: Tensor | None = None, extra: int = 0) -> Tensor:
        """``[T, B, V + extra]``, of each token at each step; what is never copied has none.

        Args:
            found: of `decode`.
            copies, extra: as in a `TranslationBatch`, where tokens may be copied.
        """
        scores = self._scores(found.outputs)
        if self.pointer is None or copies is None:
            return scores.log_softmax(-1)
        mixed = self.pointer(scores, found.weights, copies, torch.cat([found.inputs, found.features], -1), extra)
        # A column by its number, not a slice of the end: there are those of unknown tokens behind it.
        never = torch.arange(mixed.shape[-1], device=mixed.device) == self.target_size
        return mixed.masked_fill(never, -torch.inf)

    def losses(self, found: Decoded, batch: TranslationBatch) -> Losses:
        """The loss of what the decoder has made of a batch."""
        counted = batch.labels != IGNORED
        labels = batch.labels[counted]
        if self.pointer is None:
            # Of what counts alone: the scores are the largest part of the work.
            logs = self._scores(found.outputs[counted]).log_softmax(-1)
        else:
            logs = self.log_probabilities(found, batch.copies, batch.extra)[counted]
        nats = F.nll_loss(logs, labels, reduction="sum")
        right = (logs.detach().argmax(-1) == labels).sum()
        if not (self.training and self.label_smoothing):
            return Losses(nats, nats, right)
        # Spread over the vocabulary: what can only be copied is another set of tokens in each row.
        spread = -logs[:, : self.target_size].sum() / self.target_size
        return Losses(torch.lerp(nats, spread, self.label_smoothing), nats, right)

    def _scores(self, outputs: Tensor) -> Tensor:
        # Where both sides share vectors, those of features lie behind the target's tokens.
        found = F.linear(outputs, self.scores.weight[: self.target_size], self.scores.bias)
        # Under autocast products may be of 16 bits, which are too few for sums of probabilities.
        return found.to(torch.promote_types(found.dtype, torch.float32))
