"""Several translators as one, whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from gateflow.data.tokenizer_file import tokenizer_text
from gateflow.errors import ConfigError
from gateflow.tasks.translator.coding import DecoderState, Said
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.tokens import Vocabularies

__all__ = ["Ensemble", "Translating", "ensemble_of", "refuse_other_tokens", "runs_beside"]


@dataclass(frozen=True)
class _States:
    """Where the decoder of each is."""

    each: tuple[DecoderState, ...]

    def select(self, rows: Tensor) -> Self:
        """The states of these rows."""
        return type(self)(tuple(state.select(rows) for state in self.each))


class Ensemble(nn.Module):
    """Translators with the same tokens as one: at each step ``p(y_t) = 1/K Σ_k p_k(y_t)``.

    Mistakes that one makes and the others do not are outvoted; a search takes as long as that of all of them together.

    Args:
        models: in eval mode; recurrent ones and Transformers may stand side by side.

    Raises:
        ConfigError: there is none; some copy tokens of the source and others do not.

    Source: Sutskever, Vinyals, Le (2014). Sequence to sequence learning with neural networks. NeurIPS. arXiv:1409.3215.

    Example:
        >>> models = [TranslatorModel(5, 4, hidden_size=8, embedding_size=4).eval() for _ in range(2)]
        >>> both = Ensemble(models)
        >>> source, lengths, begun = torch.tensor([[1], [2]]), torch.tensor([2]), torch.tensor([0])
        >>> of_each = [model.step(begun, model.start(source, lengths)).logs.exp() for model in models]
        >>> mean = both.step(begun, both.start(source, lengths)).logs.exp()
        >>> bool(torch.allclose(mean, (of_each[0] + of_each[1]) / 2))
        True
    """

    def __init__(self, models: Iterable[TranslatorModel]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        if not len(self.models):
            raise ConfigError("an ensemble is made of one translator or more, and none was given.")
        if len({model.copies for model in self._each}) != 1:
            raise ConfigError(
                "translators with --pointer and others without one have no tokens in common: one kind takes tokens of "
                "the source for its own. Take those of one kind."
            )

    @property
    def copies(self) -> bool:
        """Whether tokens of the source may be copied."""
        return self._each[0].copies

    @property
    def attends(self) -> bool:
        """Whether all of them have attention."""
        return all(model.attends for model in self._each)

    @property
    def device(self) -> torch.device:
        """Where sources are read."""
        return self._each[0].device

    def start(self, source: Tensor, lengths: Tensor) -> _States:
        """The states of decoders that have said nothing of ``source [S, B]``."""
        return _States(tuple(model.start(source, lengths) for model in self._each))

    def step(self, tokens: Tensor, state: _States, copies: Tensor | None = None, extra: int = 0) -> Said:
        """What comes after tokens ``[B]``; weights of attention are the mean too, where all have them."""
        each = zip(self._each, state.each, strict=True)
        said = [model.step(tokens, before, copies, extra) for model, before in each]
        logs = torch.stack([one.logs for one in said]).logsumexp(0) - math.log(len(said))
        weights = [one.weights for one in said if one.weights is not None]
        mean = torch.stack(weights).mean(0) if len(weights) == len(said) else None
        return Said(logs, _States(tuple(one.state for one in said)), mean)

    @property
    def _each(self) -> Sequence[TranslatorModel]:
        return cast("Sequence[TranslatorModel]", self.models)


Translating = TranslatorModel | Ensemble
"""One translator, or several as one."""


def runs_beside(run: TranslatorRun, names: str | None) -> list[TranslatorRun]:
    """The runs that ``--ensemble`` names, with commas between them.

    Raises:
        RunError: one is none.
        ConfigError: there is no name, or one is of another task, or is named twice.
    """
    if names is None:
        return []
    words = [word.strip() for word in names.split(",") if word.strip()]
    if not words:
        raise ConfigError(f"--ensemble {names!r} names no run; give one, or several as RUN2,RUN3, or leave it out.")
    # A folder may have a comma in its name.
    paths = [Path(names)] if Path(names).exists() else [Path(word) for word in words]
    found = [run]
    for path in paths:
        other = TranslatorRun.open(path, run.trust)
        if (task := other.task()) != "translator":
            raise ConfigError(f"--ensemble {path} is a run of the task {task!r:.80}; name runs of translators.")
        if any(path.samefile(one.path) for one in found):
            raise ConfigError(f"--ensemble {path}: this run is there already, and counts once; name others.")
        found.append(other)
    return found[1:]


def ensemble_of(model: TranslatorModel, vocabularies: Vocabularies, others: Sequence[TranslatorRun]) -> Translating:
    """A translator with those of other runs; itself if there are none.

    Raises:
        RunError, NonFiniteError: a run's model cannot be used.
        ConfigError: a run has other tokens, or copies where others do not.
    """
    if not others:
        return model
    models = [model]
    for run in others:
        own = load_vocabularies(run)
        refuse_other_tokens(run, own, vocabularies)
        models.append(load_model(run, own).to(model.device))
    return Ensemble(models)


def refuse_other_tokens(run: TranslatorRun, own: Vocabularies, wanted: Vocabularies) -> None:
    """Refuse a run whose numbers mean other tokens.

    Raises:
        ConfigError: they do.
    """
    for side in ("source", "target", "features"):
        if _text_of(own, side) != _text_of(wanted, side):
            raise ConfigError(
                f"--ensemble {run.path} has other tokens ({side}) than the run that it is to help; those of an "
                "ensemble are trained on the same pairs with the same options of tokens, with another --seed say."
            )


def _text_of(vocabularies: Vocabularies, side: str) -> object:
    tokens = getattr(vocabularies, side)
    return tokens and (tokens.kind, tokenizer_text(tokens.tokenizer))
