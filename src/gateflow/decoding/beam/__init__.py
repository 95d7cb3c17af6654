"""Beam search for decoders that say one token after the other, as those of encoder–decoder models do.

decoder      what a decoder must be      options   how long, how wide, by which score
search       the search, over all lines at once      asking   its questions to a decoder
hypothesis   what it finds
"""

from gateflow.decoding.beam.decoder import Decoder
from gateflow.decoding.beam.hypothesis import Hypothesis
from gateflow.decoding.beam.search import beam_search

__all__ = ["Decoder", "Hypothesis", "beam_search"]
