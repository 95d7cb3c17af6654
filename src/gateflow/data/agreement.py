"""A grammar of English sentences whose verb must agree with a subject 1 to 60 words back.

    The cats , which already ate the cake near the boat , were full .

Between subject and verb stand place phrases and relative clauses, all in the past tense, which has no number in
English, and their nouns: an *attractor* is one of the other number than the subject. How many of them are attractors is
drawn symmetrically, so that the words between say nothing about the subject: only remembering it gives the verb.

The words and rules are this project's own; measuring agreement by distance and attractors follows Linzen, Dupoux and
Goldberg 2016, "Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies".
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gateflow.errors import ConfigError
from gateflow.files import write

LONGEST = 60
"""The longest distance in words from subject to verb."""

BUCKETS = (range(1, 6), range(6, 11), range(11, 21), range(21, 41), range(41, LONGEST + 1))
"""Distances are drawn and reported in these groups, each equally often."""

# No noun has a plural like its singular (sheep, fish): the number of each can be read off it.
NOUNS = {
    "ANIMAL": "cat dog horse goat hen duck fox/foxes bear lion tiger frog bird cow pig owl crow snake monkey swan",
    "PERSON": "farmer teacher doctor baker singer king queen sailor painter lawyer pilot girl boy uncle hunter guard",
    "THING": "ball bag hat box/boxes kite lamp coat basket ladder bell mirror drum",
    "FOOD": "cake apple pear plum egg biscuit carrot peach/peaches pie bean",
    "PLACE": "boat barn river house garden bridge tree road tower lake hill gate mill market church/churches shop wall",
}  # fmt: skip
VERBS = "was/were is/are seems/seem looks/look remains/remain feels/feel appears/appear stays/stay"
WORDS = {
    "DET": "the my your our his her their",
    "ADJ": "old small big little strange quiet lovely dirty famous pretty lonely ugly grey new tall white black fine",
    "ADV": "already often never once quietly gladly nearly also suddenly still",
    "SAW": "saw followed found watched liked missed noticed loved feared remembered passed left reached met helped",
    "ATE": "ate stole hid dropped carried wanted smelled tasted",
    "NEAR": "near behind beside around beyond by opposite below above inside",
    "HERE": "here there outside nearby upstairs downstairs",
    "WHEN": "week month night year summer winter spring",
    "STATE": "full happy hungry tired calm late lost warm cold wet dry safe thirsty lazy angry ready thin busy sad",
}  # fmt: skip
# Phrases of every length exist, from none to 59 words: each distance can be drawn, which a test holds.
RULES = {
    "OPENER": ["", "", "today ,", "by now ,", "as always ,", "in the end ,"],
    "SUBJECT": ["DET", "DET ADJ"],
    "MODIFIER": ["", "HERE", "right HERE", "PLACES", "HERE PLACES", "right HERE PLACES", "ASIDES"],
    "ASIDES": [", CLAUSES ,", "PLACES , CLAUSES ,"],
    "CLAUSES": ["CLAUSE", "CLAUSE and CLAUSE", "CLAUSE , and CLAUSES"],
    "CLAUSE": ["which DEED", "which ADV DEED", "which DET PERSON SAW ASIDE", "which DET ADJ PERSON SAW ASIDE"],
    "DEED": ["ATE DET FOOD ASIDE", "ATE DET ADJ FOOD ASIDE", "SAW DET BEING ASIDE", "SAW DET ADJ BEING ASIDE"],
    "BEING": ["ANIMAL", "PERSON", "THING"],
    "ASIDE": ["", "PLACES", "last WHEN", "PLACES last WHEN", "yesterday"],
    "PLACES": ["PLACE_PHRASE", "PLACE_PHRASE PLACE_PHRASE"],
    "PLACE_PHRASE": ["NEAR DET PLACE", "NEAR DET ADJ PLACE"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, word by word, with what is known about its agreement.

    Example:
        >>> from random import Random
        >>> s = draw(Random(3), distance=4, attractors=1)
        >>> s.distance, s.attractors, s.tokens[s.verb] == s.right_verb
        (4, 1, True)
    """

    tokens: tuple[str, ...]
    subject: int
    verb: int
    attractors: int
    plural: bool
    wrong_verb: str

    @property
    def distance(self) -> int:
        """Words from the subject to its verb: 1 when the verb is the next word."""
        return self.verb - self.subject

    @property
    def bucket(self) -> int:
        """Which of ``BUCKETS`` the distance lies in, from 0."""
        return next(i for i, distances in enumerate(BUCKETS) if self.distance in distances)

    @property
    def right_verb(self) -> str:
        """The verb that agrees with the subject, as it stands in ``tokens``."""
        return self.tokens[self.verb]

    @property
    def prefix(self) -> tuple[str, ...]:
        """All words before the verb: what a model has read when it must choose."""
        return self.tokens[: self.verb]

    @property
    def grammatical(self) -> str:
        """The sentence as text, words separated by blanks."""
        return " ".join(self.tokens)

    @property
    def ungrammatical(self) -> str:
        """The same text with the verb of the other number."""
        return " ".join((*self.prefix, self.wrong_verb, *self.tokens[self.verb + 1 :]))


def vocabulary() -> list[str]:
    """Return every word of the grammar, sorted.

    Example:
        >>> words = vocabulary()
        >>> 250 < len(words) < 350, "cats" in words, "were" in words
        (True, True, True)
    """
    rule_words = (word for rules in RULES.values() for rule in rules for word in rule.split() if not word.isupper())
    pairs = (word for text in (*NOUNS.values(), VERBS) for pair in _pairs(text) for word in pair)
    plain = (word for text in WORDS.values() for word in text.split())
    return sorted({*(w for w in rule_words if "_" not in w), *pairs, *plain, ",", "."})


def draw(rng: random.Random, distance: int, attractors: int | None = None) -> Sentence:
    """Draw one sentence with the verb ``distance`` words after its subject.

    Args:
        rng: where all randomness comes from.
        distance: 1 to 60 words.
        attractors: how many nouns between are of the other number. ``None`` draws 0 to all of them, evenly, which
            keeps the words between independent of the subject's number; fixing it is for evaluation.

    Raises:
        ConfigError: the distance is out of range, or has no room for so many attractors.

    Example:
        >>> s = draw(random.Random(0), distance=9)
        >>> s.grammatical.count(s.right_verb), s.distance
        (1, 9)
    """
    if not 1 <= distance <= LONGEST:
        raise ConfigError(f"distance={distance}: the grammar reaches 1 to {LONGEST} words from subject to verb.")
    between = _draw_between(rng, distance, attractors or 0)
    nouns = [i for i, symbol in enumerate(between) if symbol in NOUNS]
    # Evenly from none to all: the share of plurals between is the same for both numbers of the subject.
    count = rng.randint(0, len(nouns)) if attractors is None else attractors
    plural = rng.random() < 0.5
    other = set(rng.sample(nouns, count))
    start = [*_expand(rng, "OPENER"), *_expand(rng, "SUBJECT")]
    words = [_word(rng, symbol, plural) for symbol in (*start, "ANIMAL")]
    words += [_word(rng, symbol, plural ^ (i in other)) for i, symbol in enumerate(between)]
    verbs = rng.choice(_pairs(VERBS))
    tokens = (*words, verbs[plural], _word(rng, "STATE", plural), ".")
    return Sentence(tokens, len(start), len(words), count, plural, verbs[not plural])


def with_other_number(sentence: Sentence) -> Sentence:
    """The sentence with a subject of the other number, and the verb that agrees with it; all other words stay.

    What was an attractor is none then, and the other way round.

    Example:
        >>> s = draw(random.Random(3), distance=4)
        >>> other = with_other_number(s)
        >>> s.tokens[s.subject], other.tokens[s.subject], s.right_verb == other.wrong_verb
        ('crows', 'crow', True)
    """
    forms = next(pair for pair in _pairs(NOUNS["ANIMAL"]) if sentence.tokens[sentence.subject] in pair)
    tokens, nouns = list(sentence.tokens), {n for text in NOUNS.values() for pair in _pairs(text) for n in pair}
    tokens[sentence.subject] = forms[not sentence.plural]
    tokens[sentence.verb] = sentence.wrong_verb
    between = sum(word in nouns for word in sentence.tokens[sentence.subject + 1 : sentence.verb])
    return replace(
        sentence,
        tokens=tuple(tokens),
        plural=not sentence.plural,
        attractors=between - sentence.attractors,
        wrong_verb=sentence.right_verb,
    )


def generate(seed: int, buckets: Sequence[range] = BUCKETS) -> Iterator[Sentence]:
    """Yield sentences without end: each bucket of distances equally often, each distance in it too.

    Example:
        >>> first, again = next(generate(seed=7)), next(generate(seed=7))
        >>> first == again
        True
    """
    yield from _endless(random.Random(seed), buckets)


def split(
    train: int, test: int, seed: int, train_buckets: Sequence[range] = BUCKETS
) -> tuple[list[Sentence], list[Sentence]]:
    """Return ``train`` and ``test`` sentences; no two agree in all the words before the verb.

    The test sentences depend on the seed alone and reach over all distances, whatever the training sentences do.

    Example:
        >>> train, test = split(train=50, test=20, seed=1)
        >>> len(train), len(test), {s.prefix for s in train} & {s.prefix for s in test}
        (50, 20, set())
    """
    rng = random.Random(seed)
    seen: dict[tuple[str, ...], Sentence] = {}
    # Test sentences first: they are then the same whatever the training sentences are.
    for wanted, buckets in ((test, BUCKETS), (test + train, train_buckets)):
        source = _endless(rng, buckets)
        while len(seen) < wanted:
            sentence = next(source)
            # By what stands before the verb: the same prefix with another verb would give the answer away.
            seen.setdefault(sentence.prefix, sentence)
    sentences = list(seen.values())
    return sentences[test:], sentences[:test]


def write_text(sentences: Iterable[Sentence], path: Path) -> None:
    """Write one sentence a line, as training text for a language model.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "train.txt"
        >>> write_text(split(3, 0, seed=0)[0], path)
        >>> len(path.read_text().splitlines())
        3
    """
    write(path, "".join(f"{sentence.grammatical}\n" for sentence in sentences))


def write_pairs(sentences: Iterable[Sentence], path: Path) -> None:
    """Write sentence pairs as TSV under the headings of Marvin and Linzen's 2018 test set.

    Columns: ``construct`` (``distance_11_20``), ``condition`` (``plur_2``: number of the subject, attractors),
    ``grammatical``, ``ungrammatical``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> write_pairs([draw(random.Random(0), distance=12, attractors=2)], path)
        >>> path.read_text().splitlines()[1].split("\\t")[0]
        'distance_11_20'
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["construct", "condition", "grammatical", "ungrammatical"])
    for s in sentences:
        bucket = BUCKETS[s.bucket]
        condition = f"{'plur' if s.plural else 'sing'}_{s.attractors}"
        writer.writerow([f"distance_{bucket[0]}_{bucket[-1]}", condition, s.grammatical, s.ungrammatical])
    write(path, text.getvalue())


def _endless(rng: random.Random, buckets: Sequence[range]) -> Iterator[Sentence]:
    while True:
        yield draw(rng, rng.choice(rng.choice(buckets)))


def _draw_between(rng: random.Random, distance: int, attractors: int) -> list[str]:
    # Most draws have room; a thousand that have none mean that there is none.
    for _ in range(1000):
        between = _expand(rng, "MODIFIER", distance - 1)
        if sum(symbol in NOUNS for symbol in between) >= attractors:
            return between
    raise ConfigError(f"attractors={attractors}: a distance of {distance} words has no room for so many nouns.")


def _expand(rng: random.Random, symbol: str, length: int | None = None) -> list[str]:
    """Rewrite a symbol by the rules to word classes, exactly ``length`` of them if given."""
    if symbol not in RULES:
        return [symbol]
    if length is None:
        return rng.choice([rule.split() for rule in RULES[symbol]])
    rest = rng.choice(_rules_of_length(symbol, length))
    words: list[str] = []
    while rest:
        head = rng.choice(_head_lengths(rest, length))
        words += _expand(rng, rest[0], head)
        rest, length = rest[1:], length - head
    return words


@cache
def _rules_of_length(symbol: str, length: int) -> list[tuple[str, ...]]:
    rules = [tuple(rule.split()) for rule in RULES[symbol]]
    return [rule for rule in rules if (_head_lengths(rule, length) if rule else length == 0)]


@cache
def _head_lengths(symbols: tuple[str, ...], length: int) -> list[int]:
    """Say how many words the first symbol may take so that all symbols together fill ``length``."""
    head, rest = symbols[0], symbols[1:]
    candidates = [n for n in range(length + 1) if (_rules_of_length(head, n) if head in RULES else n == 1)]
    return [n for n in candidates if (_head_lengths(rest, length - n) if rest else n == length)]


@cache
def _pairs(text: str) -> list[tuple[str, str]]:
    words = [word.partition("/") for word in text.split()]
    return [(one, many or f"{one}s") for one, _, many in words]


@cache
def _choices(symbol: str) -> list[str]:
    return WORDS[symbol].split()


def _word(rng: random.Random, symbol: str, plural: bool) -> str:
    if symbol in NOUNS:
        return rng.choice(_pairs(NOUNS[symbol]))[plural]
    return rng.choice(_choices(symbol)) if symbol in WORDS else symbol
