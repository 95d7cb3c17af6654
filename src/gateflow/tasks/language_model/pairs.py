"""How often a language model gives the grammatical sentence of a pair the higher probability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.agreement import BUCKETS, split
from gateflow.data.pairs import Pair, pairs_of, read_pairs
from gateflow.data.stream import IGNORED
from gateflow.data.tokenizer import UNKNOWN, encode_prompt
from gateflow.errors import DataError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Given, Table
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel

__all__ = ["Judgement", "judge", "judge_run", "sentence_nll"]

# Sentences of the built-in grammar per group of distances: 0.5 is then known to 3.5 % (one standard error).
PER_DISTANCE = 200


class Judgement(NamedTuple):
    """A construct, whether the model preferred the grammatical sentence; None if a word was unknown to it."""

    construct: str
    right: bool | None


def judge_run(given: Given, data: Path | None, most: int, seed: int) -> Table:
    """The verb ``agreement``: a row per construct, the last for all together.

    Raises:
        DataError: there are no pairs, or the run knows the words of none.
        RunError, NonFiniteError: the run's model cannot be used.
    """
    model, tokenizer = load_model(given.run), load_tokenizer(given.run)
    pairs = _drawn(_pairs(data, seed), most, seed)
    rows = _count(given.track(judge(model, tokenizer, pairs), "judging", len(pairs)))
    _refuse_nothing(rows[-1], data, given.run.path)
    return Table(
        ("construct", "right", "pairs", "not judged"),
        [(name, f"{right / n:.3f}" if n else "–", f"{n:,}", f"{unknown:,}") for name, n, right, unknown in rows],
        json=[dict(zip(("construct", "judged", "right", "unknown"), row, strict=True)) for row in rows],
    )


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
    # A few pairs at a time: padded, the longest sentence of a group sets the memory of all.
    while group := list(islice(stream, pairs_at_once)):
        encoded = [[encode_prompt(tokenizer, text) for text in (p.grammatical, p.ungrammatical)] for p in group]
        # A tokenizer of bytes has no unknown token.
        known = [unknown is None or all(unknown not in ids for ids in two) for two in encoded]
        sentences = [ids for two, is_known in zip(encoded, known, strict=True) if is_known for ids in two]
        nll = iter(sentence_nll(model, sentences).view(-1, 2).tolist() if sentences else [])
        for pair, is_known in zip(group, known, strict=True):
            good, bad = next(nll) if is_known else (0.0, 0.0)
            # The smaller number of nats is the larger probability.
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
    device = model.bias.device
    rows = [torch.tensor(ids, device=device) for ids in sentences]
    # Padded with token 0, which some sentence has; its targets are ignored, and nothing is read after the end of
    # a row.
    inputs = pad_sequence([row[:-1] for row in rows])
    targets = pad_sequence([row[1:] for row in rows], padding_value=IGNORED)
    with evaluating(model):
        hidden, _ = model.hidden(inputs)
        scores = model.scores(hidden).float().flatten(0, 1)
    losses = cross_entropy(scores, targets.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view_as(targets).sum(0)


def _pairs(data: Path | None, seed: int) -> Iterable[Pair]:
    if data is not None:
        return read_pairs(data)
    sentences = split(0, PER_DISTANCE * len(BUCKETS), seed)[1]
    # So that the table runs from near to far.
    return pairs_of(sorted(sentences, key=lambda sentence: sentence.distance))


def _drawn(pairs: Iterable[Pair], most: int, seed: int) -> list[Pair]:
    """At most so many pairs of each construct, in the order of the file."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.construct, []).append(pair)
    rng = Random(seed)
    return [pair for group in groups.values() for pair in rng.sample(group, min(most, len(group)))]


def _count(judged: Iterable[Judgement]) -> list[tuple[str, int, int, int]]:
    """Construct, judged, right, unknown; the last row is all of them."""
    counts: dict[str, list[int]] = {}
    for construct, right in judged:
        row, everything = (counts.setdefault(name, [0, 0, 0]) for name in (construct, ""))
        for c in (row, everything):
            c[0], c[1], c[2] = c[0] + (right is not None), c[1] + bool(right), c[2] + (right is None)
    total = counts.pop("", [0, 0, 0])
    rows = {**counts, "all together": total}
    return [(name, n, right, unknown) for name, (n, right, unknown) in rows.items()]


def _refuse_nothing(total: tuple[str, int, int, int], data: Path | None, run: Path) -> None:
    """A table of nothing would look like a result."""
    _, judged, _, unknown = total
    source = str(data) if data else "the built-in grammar"
    if not judged + unknown:
        raise DataError(f"{source} holds no pairs, only a line of columns; add a pair of sentences to each line.")
    if not judged:
        raise DataError(
            f"none of the {unknown:,} pairs of {source} could be judged: each has a word that {run} has never seen. "
            "Give pairs in its words with --data, or train with --tokenizer bpe, which knows every word."
        )
