"""How often a language model gives the grammatical sentence of a pair the higher probability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.pairs import Pair
from gateflow.data.stream import IGNORED
from gateflow.data.tokenizer import UNKNOWN, encode_prompt
from gateflow.tasks.language_model import LanguageModel

__all__ = ["Judgement", "judge", "sentence_nll"]


class Judgement(NamedTuple):
    """A construct, whether the model preferred the grammatical sentence; None if a word was unknown to it."""

    construct: str
    right: bool | None


def judge(
    model: LanguageModel, tokenizer: Tokenizer, pairs: Iterable[Pair], pairs_at_once: int = 16
) -> Iterator[Judgement]:
    """Judge pairs one after the other: right if `P(grammatical) > P(ungrammatical)`, each sentence read from its start.

    A pair with a word that the tokenizer does not know is not judged: both sentences would show the same `<unk>`.

    Source: Marvin, Linzen (2018). Targeted syntactic evaluation of language models. EMNLP. arXiv:1808.09031.

    Example:
        >>> from gateflow.data.tokenizer import build_tokenizer
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = file.write_text("the cat sleeps\\nthe cats sleep\\n", encoding="utf-8")
        >>> words = build_tokenizer("word", file)
        >>> model = LanguageModel(words.get_vocab_size())
        >>> pairs = [Pair("all", "the cat sleeps", "the cat sleep"), Pair("all", "the dog sleeps", "the dog sleep")]
        >>> [j.right is None for j in judge(model, words, pairs)]
        [False, True]
    """
    stream, unknown = iter(pairs), tokenizer.token_to_id(UNKNOWN)
    while group := list(islice(stream, pairs_at_once)):
        encoded = [[encode_prompt(tokenizer, text) for text in (p.grammatical, p.ungrammatical)] for p in group]
        known = [unknown is None or all(unknown not in ids for ids in two) for two in encoded]
        sentences = [ids for two, is_known in zip(encoded, known, strict=True) if is_known for ids in two]
        nll = iter(sentence_nll(model, sentences).view(-1, 2).tolist() if sentences else [])
        for pair, is_known in zip(group, known, strict=True):
            good, bad = next(nll) if is_known else (0.0, 0.0)
            yield Judgement(pair.construct, good < bad if is_known else None)


@torch.no_grad()
def sentence_nll(model: LanguageModel, sentences: Sequence[Sequence[int]]) -> Tensor:
    """`-log P(x_2 … x_n | x_1)` of each sentence in nats, `[N]`; `x_1` is the end of the line before.

    Args:
        model: the language model; it is put into eval mode for the call.
        sentences: token numbers, of any lengths.

    Example:
        >>> model = LanguageModel(10)
        >>> sentence_nll(model, [[1, 2, 3], [1, 2]]).shape
        torch.Size([2])
    """
    was_training, device = model.training, model.bias.device
    model.eval()
    rows = [torch.tensor(ids, device=device) for ids in sentences]
    inputs = pad_sequence([row[:-1] for row in rows])
    targets = pad_sequence([row[1:] for row in rows], padding_value=IGNORED)
    hidden, _ = model.hidden(inputs)
    scores = model.scores(hidden).float().flatten(0, 1)
    losses = cross_entropy(scores, targets.flatten(), ignore_index=IGNORED, reduction="none")
    model.train(was_training)
    return losses.view_as(targets).sum(0)
