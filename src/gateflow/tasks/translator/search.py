"""From sources as numbers to the numbers of their translations: a translator as the decoder of a beam search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from gateflow.decoding.beam import Hypothesis, beam_search
from gateflow.errors import ConfigError
from gateflow.tasks.translator.batches import TranslationBatch
from gateflow.tasks.translator.ensemble import Translating
from gateflow.tasks.translator.loading import most_tokens
from gateflow.tasks.translator.run import TranslatorRun

__all__ = ["Search", "found_by", "refuse_without_attention", "search_of"]


@dataclass(frozen=True)
class Search:
    """How translations are looked for.

    Attributes:
        most: tokens of a translation at most.
        beam: hypotheses that go on at each step; 1 takes the likeliest token each time.
        nbest: translations of each source.
        length_penalty: 0 ranks by probability, which prefers short ones; 1 nearly by the mean over tokens.
        coverage_penalty: above 0 those are preferred that attend to all of the source.
        least: tokens of a translation at least.
        replace_unknown: an unknown token is replaced by the source token that attention looked at most.
        batch_size: sources that are read side by side; it changes no answer.

    Raises:
        ConfigError: more translations than hypotheses are asked for, or lengths that are none or cross each other.
    """

    most: int
    beam: int = 1
    nbest: int = 1
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    least: int = 0
    replace_unknown: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, number, least in (("--max-length", self.most, 1), ("--min-length", self.least, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ConfigError(f"{name} {number!r}: give a whole number of at least {least}.")
        if self.nbest > self.beam:
            raise ConfigError(f"--nbest {self.nbest} cannot come out of --beam {self.beam}; widen the beam.")
        if self.least > self.most:
            raise ConfigError(f"--min-length {self.least} is more than --max-length {self.most}; choose a smaller one.")


def search_of(run: TranslatorRun, *, min_length: int, max_length: int | None, **options: Any) -> Search:
    """A search as the verbs of a run ask for it.

    Args:
        run: whose longest target says how long translations may be, where nothing else does.
        min_length, max_length: `Search.least` and `Search.most`.
        options: the others of `Search`.

    Raises:
        RunError: the run's file of lengths is missing or damaged.
        ConfigError: as `Search`.
    """
    return Search(most_tokens(run) if max_length is None else max_length, least=min_length, **options)


def refuse_without_attention(search: Search, model: Translating) -> None:
    """Refuse what takes attention of a translator that has none: without a word it would do nothing.

    Raises:
        ConfigError: it is asked for.
    """
    asked = {"--replace-unknown": search.replace_unknown, "--coverage-penalty": search.coverage_penalty}
    for option in [option for option, value in asked.items() if value and not model.attends]:
        raise ConfigError(
            f"{option} takes attention, and a translator that was trained with --attention none has none."
        )


@dataclass(frozen=True)
class _State:
    """Where the decoder is, and which target tokens each source has; rows are hypotheses."""

    decoder: Any
    copies: Tensor

    def select(self, rows: Tensor) -> Self:
        """The states of these rows."""
        # Nothing is moved where all rows go on in their places, as in a greedy search until the first of them ends.
        if len(rows) == len(self.copies) and torch.equal(rows, torch.arange(len(rows), device=rows.device)):
            return self
        return type(self)(self.decoder.select(rows), self.copies[rows])


@dataclass(frozen=True)
class _Decoder:
    """A translator, one token after the other."""

    model: Any
    extra: int

    def step(self, state: _State, tokens: Tensor) -> tuple[Any, ...]:
        said = self.model.step(tokens, state.decoder, state.copies.T, self.extra)
        after = _State(said.state, state.copies)
        return (said.logs, after) if said.weights is None else (said.logs, after, said.weights)


@torch.inference_mode()
def found_by(search: Search, model: Translating, batch: TranslationBatch, end: int) -> list[list[Hypothesis]]:
    """The best translations of each source of a batch, the best first."""
    rows = len(batch.source_lengths)
    return beam_search(
        _Decoder(model, batch.extra),
        _State(model.start(batch.source, batch.source_lengths), batch.copies.T.expand(rows, -1)),
        rows=rows,
        start=end,
        end=end,
        beam=search.beam,
        nbest=search.nbest,
        length_penalty=search.length_penalty,
        coverage_penalty=search.coverage_penalty,
        source_lengths=batch.source_lengths,
        min_length=search.least,
        max_length=search.most,
    )
