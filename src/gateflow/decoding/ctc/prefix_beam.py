"""Search for the most probable texts: the prefixes that are best so far, for all lines at once."""

from __future__ import annotations

import math

from torch import Tensor

from gateflow.decoding.ctc import native
from gateflow.decoding.ctc.alignment import best_alignments
from gateflow.decoding.ctc.language_model import LanguageModel
from gateflow.decoding.ctc.lines import Lengths, checked_lines
from gateflow.decoding.ctc.paths import Hypothesis
from gateflow.decoding.ctc.pruning import Frames
from gateflow.decoding.ctc.search import Fusion, search
from gateflow.decoding.ranking import WIDEST
from gateflow.errors import ConfigError

__all__ = ["prefix_beam_search"]

# Useful ones are about 1; by this the line itself still has a say, and scores are numbers of float64.
_MOST_WEIGHT = 1e6


def prefix_beam_search(
    log_probs: Tensor,
    lengths: Lengths = None,
    *,
    beam: int = 16,
    nbest: int = 1,
    language_model: LanguageModel | None = None,
    lm_weight: float = 0.5,
    insertion: float = 0.0,
    least_probability: float = 1e-4,
    most_symbols: int | None = 32,
    blank: int = 0,
) -> list[list[Hypothesis]]:
    """The texts of greatest score of each line, among those that a beam search meets.

        score(text) = log p_ctc(text) + lm_weight · log p_lm(text) + insertion · length(text)

    At each frame the `beam` best prefixes are kept, each with the probability of all its paths that end in a blank and
    of all that do not. A prefix that is reached by two ways is one prefix.

    Two things are not looked at: a symbol whose probability at a frame is below `least_probability`, and all but the
    `most_symbols` most probable ones of a frame. Both count as impossible there, so frames of nothing but blanks cost
    nothing, and a text's probability lacks what such paths would have added (`log_probability` has it all).
    `least_probability=0, most_symbols=None` switches both off; with a beam that holds all prefixes the result is then
    exact.

    Args:
        log_probs, lengths, blank: as for `best_path`.
        beam: prefixes that are kept.
        nbest: texts that are returned for each line, at most `beam`. The first does not depend on it.
        language_model: says how probable a text is; see `LanguageModel`. Its symbols are the classes of `log_probs`.
        lm_weight: what its logarithm is multiplied by.
        insertion: added for each symbol; above 0 longer texts are preferred.
        least_probability: see above.
        most_symbols: see above; none for all.

    Returns:
        For each line its hypotheses, best first: `nbest` of them, or fewer where the search has met fewer. Of equal
        scores the one that was ranked first at the frame before comes first.

    Raises:
        ShapeError, NoSequenceError: as `best_path`.
        ConfigError: an option is out of its range; or as `best_path`.
        NonFiniteError: the language model says NaN.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()[:, None]
        >>> [(each.tokens, round(each.confidence, 4)) for each in prefix_beam_search(log_probs, nbest=2)[0]]
        [([1], 0.64), ([], 0.36)]

    Hannun, Maas, Jurafsky and Ng, "First-pass large vocabulary continuous speech recognition using bi-directional
    recurrent DNNs", arXiv:1408.2873, 2014.
    """
    _check(beam, nbest, lm_weight, insertion, least_probability, most_symbols)
    lines = checked_lines(log_probs, lengths, blank)
    least = math.log(least_probability) if least_probability else -math.inf
    # Nothing times the logarithm of 0 is no number.
    fusion = Fusion(language_model if lm_weight else None, lm_weight, insertion)
    if fusion.model is None and native.is_there(lines):
        found = native.search(lines, least=least, most=most_symbols, beam=beam, nbest=nbest, insertion=insertion)
    else:
        found = [texts[:nbest] for texts in search(Frames(lines, least, most_symbols), beam, fusion)]
    rows = [n for n, texts in enumerate(found) for _ in texts]
    aligned = iter(best_alignments(lines, rows, [text.tokens for texts in found for text in texts])[0])
    results = []
    for texts in found:
        places = [(text, next(aligned)) for text in texts]
        results.append([Hypothesis(a.tokens, t.score, t.log_probability, a.spans, a.confidences) for t, a in places])
    return results


def _check(
    beam: int, nbest: int, lm_weight: float, insertion: float, least_probability: float, most_symbols: int | None
) -> None:
    for name, number in (("beam", beam), ("nbest", nbest), ("most_symbols", most_symbols)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ConfigError(f"{name} must be a whole number of at least 1, not {number!r}.")
    if beam > WIDEST:
        raise ConfigError(f"beam must be at most {WIDEST:,}, not {beam:,}.")
    if nbest > beam:
        raise ConfigError(f"nbest={nbest} texts cannot come out of beam={beam} prefixes; widen the beam.")
    for name, number, lowest in (("lm_weight", lm_weight, 0.0), ("insertion", insertion, -_MOST_WEIGHT)):
        if not lowest <= number <= _MOST_WEIGHT:
            raise ConfigError(f"{name} must be a number from {lowest:,.0f} to {_MOST_WEIGHT:,.0f}, not {number:g}.")
    if not 0 <= least_probability < 1:
        raise ConfigError(f"least_probability must be at least 0 and below 1, not {least_probability}.")
