"""The two ways by which a target's gradient comes to its source: attention, and the recurrence.

A decoder knows of the source by two things: the memory that attention looks at, and the states that it begins from,
which are computed from the encoder's last ones. The gradient of the loss of a target step is followed through each of
them with the other held fast, so that the two parts sum to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gateflow.flow import ByLag, LayerReach
from gateflow.flow.input_reach import evenly, reach_of_norms
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.translator.batches import IGNORED, TranslationBatch
from gateflow.tasks.translator.coding import Decoded, Encoded
from gateflow.tasks.translator.model import TranslatorModel

__all__ = ["SourceGradients", "Ways", "source_gradients", "ways"]

_NORMS = """How much of the gradient of a target token's loss arrives at a source token, as a share of what arrives at
the token that the decoder has just read. The lag counts tokens from the target's back over the end of the source: as
many steps as the recurrence carries it, where the source is read forwards. By attention it is one step at any lag."""
_SHARES = """The same gradient in two parts, which sum to 1: what comes by attention, which looks at the encoder's
steps, and what comes by the recurrence, through the encoder's last states and the decoder's steps. A part that points
against the whole counts as less than nothing. The encoder's own recurrence has its share in both."""


@dataclass(frozen=True)
class SourceGradients:
    """Gradients of the loss of one target step, of all rows.

    Attributes:
        attention, recurrence: ``[S, B, E]``, with respect to the vectors of the source, by each way.
        target: ``[T, B, E]``, with respect to the vectors that the decoder has read.
    """

    attention: Tensor
    recurrence: Tensor
    target: Tensor

    @property
    def source(self) -> Tensor:
        """By both ways."""
        return self.attention + self.recurrence


@dataclass(frozen=True)
class Ways:
    """What `ways` found.

    Attributes:
        inputs: reach to all that was read, the target's tokens and behind them the source's, the last one first.
        by_way: norms and shares by lag, for a report; nothing where there is one way only.
    """

    inputs: LayerReach
    by_way: tuple[ByLag, ...] = ()


def source_gradients(
    model: TranslatorModel, batch: TranslationBatch, targets: Sequence[int]
) -> Iterator[SourceGradients]:
    """For each target step its gradients, exact by autograd; the model is taken in evaluation mode."""
    with evaluating(model), torch.enable_grad():
        source = model.source_vectors(batch.source).detach().requires_grad_()
        read = model.target_vectors(model.readable(batch.inputs)).detach().requires_grad_()
        encoded = model.encoder(source, batch.source_lengths)
        memory = encoded.memory.detach().requires_grad_()
        final = tuple(tuple(part.detach().requires_grad_() for part in parts) for parts in encoded.final)
        state = model.decoder.start(Encoded(memory, encoded.lengths, final))
        loss_at = _losses(model, model.decoder(read, state, batch.target_lengths), batch)
        held = [part for parts in final for part in parts]
        carried = [part for parts in encoded.final for part in parts]
        for t in targets:
            found = torch.autograd.grad(loss_at(t).sum(), [memory, read, *held], retain_graph=True, allow_unused=True)
            attention = _through([encoded.memory], found[:1], source)
            recurrence = _through(carried, found[2:], source)
            yield SourceGradients(attention, recurrence, torch.zeros_like(read) if found[1] is None else found[1])


def ways(model: TranslatorModel, batch: TranslationBatch) -> Ways:
    """How far the gradient of a target token reaches, and by which way it comes to the source.

    Raises:
        FlowError: no gradient arrives anywhere.
    """
    steps, sources = len(batch.labels), len(batch.source)
    targets = evenly(steps)
    counted, there = batch.labels != IGNORED, _there(batch.source_lengths, sources)
    at = torch.where(counted, sources + torch.arange(steps, device=batch.source.device)[:, None], -1)
    sums, norms = _Sums(sources + steps), []
    for t, found in zip(targets, source_gradients(model, batch, targets), strict=True):
        beside = _aligned(_norm(found.source).masked_fill(~there, torch.nan), batch.source_lengths)
        norms.append(torch.cat([beside, _norm(found.target)]))
        sums.add(found, t, counted[t], there, batch.source_lengths)
    inputs = reach_of_norms(torch.stack(norms), at[list(targets)], targets, steps)
    # A Transformer has one way, and so has a decoder without attention.
    if not (model.attends and model.is_recurrent):
        return Ways(inputs)
    return Ways(inputs, sums.told())


class _Sums:
    """Over pairs of a target and a source token, by lag."""

    def __init__(self, length: int) -> None:
        self.pairs = torch.zeros(7, length, dtype=torch.float64)

    def add(self, found: SourceGradients, t: int, counted: Tensor, there: Tensor, lengths: Tensor) -> None:
        """The pairs of one target step."""
        whole, own = found.source.double(), _norm(found.target[t]).double()
        lag = lengths + t - torch.arange(len(whole), device=lengths.device)[:, None]
        use = there & counted
        parts = (found.attention.double(), found.recurrence.double())
        along = [(part * whole).sum(-1) for part in parts]
        values = [_norm(whole), *map(_norm, parts), own.expand_as(lag), *along, whole.square().sum(-1)]
        for row, value in zip(self.pairs, values, strict=True):
            row.index_add_(0, lag[use].cpu(), value[use].cpu())

    def told(self) -> tuple[ByLag, ByLag]:
        """Norms as shares of those at the target's own token, and signed shares of the whole."""
        whole, attention, recurrence, own, by_attention, by_recurrence, square = self.pairs
        norms = {"both": whole / own, "by attention": attention / own, "by the recurrence": recurrence / own}
        shares = {"by attention": by_attention / square, "by the recurrence": by_recurrence / square}
        unit = "share of the gradient at the target's own token"
        return (
            ByLag("How much arrives at the source, and by which way", _NORMS, norms, unit, "log"),
            ByLag("Attention or recurrence", _SHARES, shares, "share of the gradient at the source"),
        )


def _losses(model: TranslatorModel, found: Decoded, batch: TranslationBatch) -> Callable[[int], Tensor]:
    def at(t: int) -> Tensor:
        weights = None if found.weights is None else found.weights[t : t + 1]
        step = Decoded(found.inputs[t : t + 1], found.outputs[t : t + 1], found.features[t : t + 1], weights, None)
        logs = model.log_probabilities(step, batch.copies, batch.extra)[0]
        labels = batch.labels[t]
        told = logs.gather(-1, labels.clamp(min=0)[:, None])[:, 0]
        return torch.where(labels == IGNORED, 0.0, -told)

    return at


def _through(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], source: Tensor) -> Tensor:
    """The gradients of some outputs of the encoder, carried on to what it has read."""
    pairs = [(x, g) for x, g in zip(outputs, gradients, strict=True) if g is not None and x.requires_grad]
    if not pairs:
        return torch.zeros_like(source)
    tensors, given = zip(*pairs, strict=True)
    (found,) = torch.autograd.grad(tensors, source, given, retain_graph=True, allow_unused=True)
    return torch.zeros_like(source) if found is None else found


def _there(lengths: Tensor, steps: int) -> Tensor:
    return torch.arange(steps, device=lengths.device)[:, None] < lengths


def _norm(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient, dim=-1)


def _aligned(norms: Tensor, lengths: Tensor) -> Tensor:
    """``[S, B]`` with each row's end at the last step, NaN before its beginning."""
    steps = len(norms)
    place = torch.arange(steps, device=norms.device)[:, None] - (steps - lengths)
    return norms.gather(0, place.clamp(min=0)).masked_fill(place < 0, torch.nan)
