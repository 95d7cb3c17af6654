"""Runs a language model that `gateflow export` has written: the file of this name that ends in .onnx.

    python THIS.py --prompt "The cat" --length 50 --temperature 0.8      go on with a text
    python THIS.py --prompt "The cat" --next 10                          the likeliest next tokens

It needs numpy, onnxruntime and tokenizers, and nothing else; the tokenizer is in the .onnx file. Take from it what you
need: `LanguageModel.read` takes tokens and gives the scores of those that follow, and keeps the state in between.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class LanguageModel:
    """An exported model, its tokenizer, and the state after all that it has read."""

    def __init__(self, file):
        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_str(self.session.get_modelmeta().custom_metadata_map["tokenizer"])
        self.end_of_line = self.tokenizer.encode("").ids[0]
        inputs = [each for each in self.session.get_inputs() if each.name != "tokens"]
        self.state = {each.name: np.zeros((1, each.shape[1]), np.float32) for each in inputs}

    def read(self, tokens):
        """Read some tokens; return the scores of each token of the vocabulary to be the next, [V]."""
        given = {"tokens": np.asarray(tokens, np.int64)[:, None], **self.state}
        scores, *state = map(np.asarray, self.session.run(None, given))
        self.state = dict(zip(self.state, state, strict=True))
        return scores[-1, 0]

    def encode(self, text):
        """Token numbers of a text, each line behind the end of the line before it."""
        lines = [self.tokenizer.encode(line, add_special_tokens=False).ids for line in text.split("\n")]
        return [number for line in lines for number in (self.end_of_line, *line)]

    def decode(self, tokens):
        """The text of token numbers, each line by itself."""
        lines = [[]]
        for number in tokens:
            if number == self.end_of_line:
                lines.append([])
            else:
                lines[-1].append(number)
        return "\n".join(self.tokenizer.decode(line, skip_special_tokens=False) for line in lines)


def probabilities(scores, temperature=1.0, top_k=None):
    """Probabilities of scores [V], of the likeliest `top_k` alone if given; temperature 0 is the likeliest."""
    scores = scores.astype(np.float64)
    if temperature == 0:
        return np.eye(len(scores))[scores.argmax()]
    if top_k is not None and top_k < len(scores):
        scores[np.argsort(-scores, kind="stable")[top_k:]] = -np.inf
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs a language model that gateflow export has written.")
    parser.add_argument("--prompt", default="", help="text to go on from")
    parser.add_argument("--length", type=int, default=100, help="tokens to write")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 more cautious, 0 the likeliest")
    parser.add_argument("--top-k", type=int, help="choose among the k likeliest")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same text")
    parser.add_argument("--next", type=int, metavar="N", help="print the N likeliest next tokens instead")
    asked = parser.parse_args()
    model, random = LanguageModel(Path(__file__).with_suffix(".onnx")), np.random.default_rng(asked.seed)
    tokens = model.encode(asked.prompt)
    scores = model.read(tokens)
    if asked.next:
        found = probabilities(scores)
        for number in np.argsort(-found, kind="stable")[: asked.next]:
            sys.stdout.write(f"{found[number]:.4f}  {model.tokenizer.id_to_token(int(number))!r}\n")
        return
    for _ in range(asked.length):
        drawn = random.choice(len(scores), p=probabilities(scores, asked.temperature, asked.top_k))
        tokens.append(int(drawn))
        scores = model.read([drawn])
    sys.stdout.write(model.decode(tokens[1:]) + "\n")


if __name__ == "__main__":
    main()
