"""A transcriber at work: the one function by which lines get their texts, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from unicodedata import combining, normalize

import torch
from torch import Tensor

from gateflow.data.lines import blocks_of
from gateflow.data.series import Series
from gateflow.decoding.ctc import Alignment, Hypothesis, LanguageModel, best_path, prefix_beam_search
from gateflow.errors import ConfigError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.transcriber.batches import Batch, Encoded
from gateflow.tasks.transcriber.learnt import Learnt

__all__ = ["BEST_PATH", "CHUNK", "Answer", "Character", "Decoding", "characters_of", "log_probabilities", "predict"]

CHUNK = 256
"""Lines that are read at once to be put into batches by their length; as many are held in memory."""


@dataclass(frozen=True)
class Decoding:
    """How texts are chosen.

    Args:
        beam: prefixes that a search keeps; 0 takes the likeliest character of each step by itself (best path).
        nbest: texts for each line.
        language_model: says how likely a text is; see `gateflow.decoding.ctc.LanguageModel`.
        lm_weight: how much it counts beside the line.
        insertion: what each character adds to a text's score.

    Raises:
        ConfigError: what only a search has is asked of the best path.
    """

    beam: int = 0
    nbest: int = 1
    language_model: LanguageModel | None = None
    lm_weight: float = 0.5
    insertion: float = 0.0

    def __post_init__(self) -> None:
        if not self.beam and (self.nbest > 1 or self.language_model is not None or self.insertion):
            raise ConfigError("--nbest, --lm and --insertion are of a search, and --beam 0 makes none; give --beam 16.")

    def __call__(self, log_probs: Tensor, lengths: Tensor) -> list[list[Hypothesis]]:
        """The best texts of each line, the best first."""
        if not self.beam:
            return [[found] for found in best_path(log_probs, lengths)]
        return prefix_beam_search(
            log_probs,
            lengths,
            beam=self.beam,
            nbest=self.nbest,
            language_model=self.language_model,
            lm_weight=self.lm_weight,
            insertion=self.insertion,
        )


BEST_PATH = Decoding()
"""Without a search."""


@dataclass(frozen=True)
class Character:
    """One character of an answer.

    Attributes:
        text: the character; with marks where the network has written a letter and its marks one by one, and the text in
            NFC has others.
        begin, end: where it is: seconds of a sound, columns of a picture's file, points of strokes.
        confidence: the greatest probability that the network gives it there.
    """

    text: str
    begin: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Answer:
    """What a transcriber reads in one line.

    Attributes:
        text: all of it, as `gateflow.data.transcripts.plain` makes texts.
        characters: one by one; together they are the text.
        score: by which texts are ranked: the log-probability of the path or the text, in nats, with what a language
            model and the number of characters add.
        others: the texts that follow it, if they are asked for, the best first.
    """

    text: str
    characters: tuple[Character, ...]
    score: float
    others: tuple[Answer, ...] = ()


def predict(
    learnt: Learnt,
    lines: Iterable[Series],
    *,
    batch_size: int = 16,
    decoding: Decoding = BEST_PATH,
    chunk: int = CHUNK,
) -> Iterator[Answer]:
    """Yield the text of each line, in order: the same in any batch.

    Args:
        learnt: by a run.
        lines: as the run's kind of input reads them, of any length.
        batch_size: lines that are read side by side.
        decoding: how texts are chosen.
        chunk: lines that are waited for before the first answer; batches are made of them by length.
    """
    # All that the search keeps, since some of them are the same answer.
    search = replace(decoding, nbest=max(decoding.nbest, decoding.beam)) if decoding.nbest > 1 else decoding
    for block in blocks_of(lines, chunk):
        encoded = Encoded(learnt.encoder, block)
        order = sorted(range(len(block)), key=encoded.lengths.__getitem__)
        answers: dict[int, Answer] = {}
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            found = search(*log_probabilities(learnt, encoded.batch(rows)))
            for i, texts in zip(rows, found, strict=True):
                # Texts that differ in spaces at their ends, say, are the same answer: the likelier one stays.
                different: dict[str, Answer] = {}
                for text in texts:
                    answer = _answer(learnt, block[i], text)
                    different.setdefault(answer.text, answer)
                best, *others = islice(different.values(), decoding.nbest)
                answers[i] = replace(best, others=tuple(others))
        yield from (answers[i] for i in range(len(block)))


@torch.inference_mode()
def log_probabilities(learnt: Learnt, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``[T, B, classes]`` of each class, and the lengths ``[B]``."""
    model = learnt.model
    with evaluating(model):
        return model(batch.to(model.head.weight.device))


def characters_of(learnt: Learnt, line: Series, found: Hypothesis | Alignment) -> tuple[Character, ...]:
    """The characters that were found in a line, each with its place."""
    return tuple(
        Character(character, *_place(learnt, line, first, last), confidence)
        for character, (first, last), confidence in zip(
            learnt.alphabet.text(found.tokens), found.spans, found.confidences, strict=True
        )
    )


def _answer(learnt: Learnt, line: Series, found: Hypothesis) -> Answer:
    characters = _plain(characters_of(learnt, line, found))
    return Answer("".join(x.text for x in characters), characters, found.score)


def _plain(characters: Sequence[Character]) -> tuple[Character, ...]:
    """Those of the text that `plain` makes of theirs, each where it was written."""
    found: list[Character] = []
    for group in _combined(characters):
        text = "".join(x.text for x in group)
        composed = normalize("NFC", text)
        if text.isspace():
            if found and found[-1].text != " ":
                found.append(replace(group[0], text=" "))
        elif composed == text:
            found += group
        else:
            least = min(x.confidence for x in group)
            found.append(Character(composed, group[0].begin, group[-1].end, least))
    if found and found[-1].text == " ":
        found.pop()
    return tuple(found)


def _combined(characters: Sequence[Character]) -> Iterator[list[Character]]:
    """Each character with those behind it that it may become one with: marks, and parts of a Korean syllable."""
    group: list[Character] = []
    for character in characters:
        before, text = normalize("NFC", "".join(x.text for x in group)), character.text
        # A mark on a space is none of it: spaces at the ends and doubled ones go.
        joins = group and not before.isspace() and (combining(text) or normalize("NFC", before + text) != before + text)
        if group and not joins:
            yield group
            group = []
        group.append(character)
    if group:
        yield group


def _place(learnt: Learnt, line: Series, first: int, last: int) -> tuple[float, float]:
    """From where to where frames go, in the unit of the line's times."""
    times = line.times
    assert times is not None, "given by every kind of input"
    begin, end = learnt.model.steps_of(first, last)
    return float(times[begin]), float(times[end]) if end < len(times) else learnt.encoder.end_of(line)
