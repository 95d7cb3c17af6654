"""Decoding of networks that are trained by CTC (connectionist temporal classification).

At each frame such a network gives the probability of each symbol and of the *blank*. A path is one choice per frame; it
spells the text that remains when repeated symbols are merged and then blanks are removed. The probability of a text is
the sum over all paths that spell it.

Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification: labelling unsegmented sequence data
with recurrent neural networks", ICML 2006.

lines            what comes in, looked at once
lattice          all paths of a text: their sum, and the best of them
paths            from the best path to symbols with places
prefix_beam      the search      pruning   what it looks at      trie   its prefixes
language_model   what it may be joined with
"""

from gateflow.decoding.ctc.alignment import align, log_probability
from gateflow.decoding.ctc.best_path import best_path
from gateflow.decoding.ctc.language_model import LanguageModel
from gateflow.decoding.ctc.paths import Alignment, Hypothesis
from gateflow.decoding.ctc.prefix_beam import prefix_beam_search

__all__ = [
    "Alignment",
    "Hypothesis",
    "LanguageModel",
    "align",
    "best_path",
    "log_probability",
    "prefix_beam_search",
]
