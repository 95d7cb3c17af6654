"""The grammar: what a sentence says of itself is so, and nothing but the subject gives its verb away."""

import math
from collections import Counter, defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data import agreement
from gateflow.data.agreement import BUCKETS, LONGEST, draw, generate, split, vocabulary
from gateflow.errors import ConfigError

FORMS = {
    word: plural
    for text in agreement.NOUNS.values()
    for pair in agreement._pairs(text)
    for plural, word in enumerate(pair)
}
VERBS = {word: plural for pair in agreement._pairs(agreement.VERBS) for plural, word in enumerate(pair)}


def numbers_between(sentence):
    return [FORMS[word] for word in sentence.tokens[sentence.subject + 1 : sentence.verb] if word in FORMS]


@given(distance=st.integers(1, LONGEST), seed=st.integers(0, 10**6))
def test_a_sentence_is_what_it_says(distance, seed):
    s = draw(Random(seed), distance)
    assert s.verb - s.subject == s.distance == distance
    assert FORMS[s.tokens[s.subject]] == VERBS[s.right_verb] == s.plural
    assert VERBS[s.wrong_verb] != s.plural
    assert s.attractors == sum(number != s.plural for number in numbers_between(s))
    assert [word for word in s.tokens if word in VERBS] == [s.right_verb], "no other word with a verb's number"
    assert not any(word in FORMS for word in s.tokens[: s.subject]), "the subject is the first noun"
    assert set(s.tokens) <= set(vocabulary())
    assert s.grammatical.split() != s.ungrammatical.split()
    assert sum(a != b for a, b in zip(s.grammatical.split(), s.ungrammatical.split(), strict=True)) == 1


@given(seed=st.integers(0, 10**6), attractors=st.integers(0, 4))
def test_attractors_can_be_fixed(seed, attractors):
    assert draw(Random(seed), 20, attractors).attractors == attractors


@pytest.mark.parametrize(
    ("distance", "attractors", "words"), [(0, None, "1 to 60"), (61, None, "1 to 60"), (3, 2, "no room")]
)
def test_what_cannot_be_is_refused(distance, attractors, words):
    with pytest.raises(ConfigError, match=words):
        draw(Random(0), distance, attractors)


def test_every_distance_is_drawn_and_every_bucket_equally_often():
    sentences = [s for s, _ in zip(generate(seed=0), range(6000), strict=False)]
    assert {s.distance for s in sentences} == set(range(1, LONGEST + 1))
    for bucket in BUCKETS:
        assert sum(s.distance in bucket for s in sentences) == pytest.approx(1200, abs=120)


def test_the_same_words_stand_at_all_distances():
    near, far = ({s.tokens[s.subject] for s in split(3000, 0, 0, [bucket])[0]} for bucket in (BUCKETS[0], BUCKETS[-1]))
    assert near == far


def is_chance(hits, of):
    return abs(hits / of - 0.5) < 4 * math.sqrt(0.25 / of)


@pytest.mark.parametrize("bucket", BUCKETS[1:], ids=lambda b: f"{b[0]}-{b[-1]}")
def test_the_words_between_do_not_give_the_number_away(bucket):
    """Last noun, first noun, majority of nouns, number of nouns: none is better than a coin, nor worse."""
    sentences = [s for s in split(4000, 0, 5, [bucket])[0] if numbers_between(s)]
    for guess in (lambda n: n[-1], lambda n: n[0], lambda n: 2 * sum(n) > len(n), lambda n: len(n) % 2):
        hits = sum(guess(numbers_between(s)) == s.plural for s in sentences)
        assert is_chance(hits, len(sentences))


def test_no_word_before_the_verb_but_the_subject_knows_its_number():
    """Naive Bayes over all words but the subject, trained on 12 000 sentences, judges 4 000 others at chance."""
    train, test = split(12000, 4000, seed=3)
    counts = defaultdict(Counter)
    for s in train:
        counts[s.plural].update(words_but_subject(s))
    sizes = {plural: sum(found.values()) for plural, found in counts.items()}

    def score(words, plural):
        return sum(math.log((counts[plural][w] + 1) / sizes[plural]) for w in words)

    hits = sum((score(words_but_subject(s), True) > score(words_but_subject(s), False)) == s.plural for s in test)
    assert is_chance(hits, len(test))
    with_subject = sum(FORMS[s.tokens[s.subject]] == s.plural for s in test)
    assert with_subject == len(test)


def words_but_subject(sentence):
    return [word for i, word in enumerate(sentence.prefix) if i != sentence.subject]


def test_split_shares_nothing_and_comes_back():
    train, test = split(500, 200, seed=4, train_buckets=BUCKETS[3:])
    assert (train, test) == split(500, 200, seed=4, train_buckets=BUCKETS[3:])
    assert len({s.prefix for s in train + test}) == 700
    assert {s.distance for s in train} <= set(range(21, 61))
    assert min(s.distance for s in test) < 6
    assert test == split(10, 200, seed=4)[1] != split(10, 200, seed=5)[1]


def test_files(tmp_path):
    sentences = [draw(Random(i), distance=7) for i in range(5)]
    agreement.write_text(sentences, tmp_path / "text")
    assert (tmp_path / "text").read_text().splitlines() == [s.grammatical for s in sentences]
    agreement.write_pairs(sentences, tmp_path / "pairs")
    head, *rows = [line.split("\t") for line in (tmp_path / "pairs").read_text().splitlines()]
    assert head == ["construct", "condition", "grammatical", "ungrammatical"]
    assert [row[2:] for row in rows] == [[s.grammatical, s.ungrammatical] for s in sentences]
    assert {row[0] for row in rows} == {"distance_6_10"}
