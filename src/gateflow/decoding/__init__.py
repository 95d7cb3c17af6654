"""From what a network says at each step to sequences of symbols: plain tensors in, plain results out.

ctc      networks that name a symbol or a blank for each frame: best path, beam search, forced alignment
beam     decoders that say one token after the other
states   what a decoder or a language model carries from step to step, put in another order
"""
