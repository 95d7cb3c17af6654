"""How texts are chosen, as it is asked for: best path, or a search, with a run of a language model beside it."""

from __future__ import annotations

from pathlib import Path

from gateflow.errors import ConfigError
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.scoring import Scorer, scorer
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.prediction import Decoding

__all__ = ["LM_WEIGHT", "decoding_of"]

# Texts that a search keeps where one is asked for and no width.
BEAM = 16
LM_WEIGHT = 0.5
"""How much a language model counts, if nothing else is asked for."""


def decoding_of(
    alphabet: Alphabet, beam: int | None, nbest: int, lm: Path | None, weight: float, insertion: float
) -> Decoding:
    """How texts are chosen.

    Args:
        alphabet: of the transcriber.
        beam: texts that a search keeps, 0 for none; without it 16 if anything of a search is asked for.
        nbest: texts for each line.
        lm: a run of a language model.
        weight: how much it counts.
        insertion: what each character adds.

    Raises:
        RunError, NonFiniteError: the run of the language model cannot be used.
        ConfigError: it does not fit, or what only a search has is asked of the best path.

    Warns:
        DataWarning: the language model does not know all characters.
    """
    if lm is None and weight != LM_WEIGHT:
        raise ConfigError(
            f"--lm-weight {weight:g} would do nothing without a language model; give --lm, or leave it out."
        )
    asked = lm is not None or nbest > 1 or bool(insertion)
    wanted = beam if beam is not None else BEAM if asked else 0
    if not wanted and asked:  # before a model is loaded for nothing
        raise ConfigError("--nbest, --lm and --insertion are of a search, and --beam 0 makes none; give --beam 16.")
    return Decoding(wanted, nbest, None if lm is None else _scorer(lm, alphabet), weight, insertion)


def _scorer(path: Path, alphabet: Alphabet) -> Scorer:
    run = LanguageModelRun.open(path)
    if (task := run.task()) != "lm":
        raise ConfigError(f"--lm {path} is a run of the task {task!r:.80}; name one that `gateflow train lm` has made.")
    return scorer(run, ["", *alphabet.characters])
