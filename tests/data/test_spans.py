"""Spans in each scheme: judged by seqeval, by enumeration, and by going there and back."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB1, IOB2, IOBES, Entities

from gateflow.data.spans import SCHEMES, Span, converted, encoded, find_scheme, mended, spans, transitions
from gateflow.errors import DataError

JUDGES = {"IOB1": IOB1, "IOB2": IOB2, "BIOES": IOBES}
TYPES = ["person", "creative-work", "일반"]


def tags_of(scheme, types):
    return ["O", *(f"{letter}-{type}" for letter in SCHEMES[scheme] if letter != "O" for type in types)]


def sequences(scheme):
    """Any sequences of the scheme's tags, most of them wrong."""
    return st.lists(st.sampled_from(tags_of(scheme, TYPES)), max_size=12)


@st.composite
def sentences(draw):
    """Spans and the length of the sentence that they lie in."""
    found, begin = [], 0
    for type, gap, size in draw(
        st.lists(st.tuples(st.sampled_from(["", *TYPES]), st.integers(0, 2), st.integers(1, 4)))
    ):
        found.append(Span(type, begin + gap, begin + gap + size))
        begin = found[-1].end
    return found, begin + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_spans_of_any_sequence_are_those_of_seqeval(scheme, data):
    tags = data.draw(sequences(scheme))
    assert [(type, begin, end - 1) for type, begin, end in spans(tags, scheme)] == get_entities(tags)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_a_mended_sequence_has_the_spans_that_strict_seqeval_sees(scheme, data):
    tags = data.draw(sequences(scheme))
    right, changed = mended(tags, scheme)
    strict = Entities([right], JUDGES[scheme]).entities[0]
    assert [(e.tag, e.start, e.end) for e in strict] == [tuple(span) for span in spans(tags, scheme)]
    assert changed == sum(a != b for a, b in zip(tags, right, strict=True))
    assert mended(right, scheme) == (right, 0)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentence=sentences())
def test_there_and_back(scheme, sentence):
    found, length = sentence
    tags = encoded(found, length, scheme)
    assert spans(tags, scheme) == found
    assert mended(tags, scheme) == (tags, 0)
    for other in SCHEMES:
        there = converted(tags, scheme, other)
        assert there == encoded(found, length, other)
        assert converted(there, other, scheme) == tags


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("types", [["x", "y-z"], [""]])
def test_a_sequence_is_allowed_where_nothing_would_be_mended(scheme, types):
    labels = [label.removesuffix("-") for label in tags_of(scheme, types)]
    begin, inner, end = transitions(labels, scheme)
    for length in (1, 2, 3):
        for path in product(range(len(labels)), repeat=length):
            allowed = begin[path[0]] and end[path[-1]] and all(inner[i][j] for i, j in pairwise(path))
            assert allowed == (mended([labels[k] for k in path], scheme)[1] == 0), [labels[k] for k in path]


def test_of_plain_tags_everything_is_allowed():
    assert transitions(["DET", "NOUN"], None) == ([True] * 2, [[True] * 2] * 2, [True] * 2)
    assert mended(["DET", "NOUN"], None) == (["DET", "NOUN"], 0)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ([["O", "B-creative-work", "I-creative-work"]], "IOB2"),
        ([["O", "I-x", "I-x"], ["I-x", "B-x"]], "IOB1"),
        ([["I-x", "I-y"]], "IOB1"),
        ([["B", "I", "O"]], "IOB2"),
        ([["I", "O", "I", "B"]], "IOB1"),
        # Mistakes of one kind or the other: the scheme with fewer of them.
        ([["B-x", "O", "B-y", "O", "I-x"]], "IOB2"),
        ([["I-x", "O", "I-y", "O", "B-x"]], "IOB1"),
        ([["I-x", "O", "B-x"]], "IOB2"),
        ([["B-x", "E-x", "O"]], "BIOES"),
        ([["O", "S-x"]], "BIOES"),
        ([["B-x", "L-x"], ["U-x", "O"]], "BIOES"),
        ([["B-x", "M-x", "E-x"], ["W-x", "O"]], "BIOES"),
        ([["B", "M", "E", "S"]], "BIOES"),
        ([["O", "O"], ["O"]], None),
        ([], None),
        ([["DET", "NOUN"]], None),
        ([["M", "W"], ["M"]], None),
        ([["S", "O"]], None),
        ([["B-x", "O-x"]], None),
        ([["B-", "O"]], None),
    ],
)
def test_the_scheme_is_found_by_looking(tags, scheme):
    assert find_scheme(tags) == scheme
    assert find_scheme(tuple(tuple(sentence) for sentence in tags)) == scheme


@pytest.mark.parametrize("tag", ["0", "b-x", "X-x", "B_x", "B-", "O-x", ""])
def test_a_tag_of_no_scheme_among_others_is_refused_and_told(tag):
    message = f"Word 2 of sentence 3 has the tag {tag!r}, where others are O, B-TYPE, I-TYPE … Correct the tag"
    with pytest.raises(DataError, match=message):
        find_scheme([["O"], ["B-x", "I-x"], ["O", tag, "O"], ["?"]])


@pytest.mark.parametrize("scheme", SCHEMES)
@given(found=st.lists(sentences(), min_size=1))
def test_the_scheme_of_right_sequences_is_found_unless_they_show_none(scheme, found):
    tags = [encoded(spans, length, scheme) for spans, length in found]
    if any(spans for spans, _ in found):
        # S of no type and O alone might mean anything.
        bare = scheme == "BIOES" and all(tag in ("S", "O") for sentence in tags for tag in sentence)
        assert find_scheme(tags) == (None if bare else scheme)


@pytest.mark.parametrize(
    ("letters", "others"), [("BIES", "BILU"), ("BIES", "BMEW"), ("BIES", "BMES")], ids=["BILOU", "BMEWO", "BMES"]
)
@given(sentence=sentences())
def test_other_letters_are_no_change(letters, others, sentence):
    tags = encoded(*sentence, "BIOES")
    spelled = [tag if tag == "O" else others[letters.index(tag[0])] + tag[1:] for tag in tags]
    assert mended(spelled, "BIOES") == (tags, 0)
    assert spans(spelled, "BIOES") == sentence[0]


def test_what_is_mended_is_counted():
    assert mended(["I-x", "I-x", "I-y", "O"], "IOB2") == (["B-x", "I-x", "B-y", "O"], 2)
    assert mended(["B-x", "I-x", "B-x"], "IOB1") == (["I-x", "I-x", "B-x"], 1)
    assert mended(["I-x", "E-x", "E-x", "B-y", "S-y"], "BIOES") == (["B-x", "E-x", "S-x", "S-y", "S-y"], 3)
    assert mended([], "IOB2") == ([], 0)


@pytest.mark.parametrize(
    ("tag", "scheme", "message"),
    [
        ("E-x", "IOB2", r"'E-x' \(tag 1\) is no tag of IOB2, which has O, I-TYPE, B-TYPE. Correct the tag"),
        ("NOUN", "BIOES", r"'NOUN' \(tag 1\) is no tag of BIOES, which has O, B-TYPE, I-TYPE, E-TYPE, S-TYPE"),
        ("B-", "IOB1", r"'B-' \(tag 1\) is no tag of IOB1"),
        ("", "IOB1", r"'' \(tag 1\) is no tag of IOB1"),
        ("O", "IOE", r"scheme 'IOE' is not known. Give one of IOB1, IOB2, BIOES"),
    ],
)
def test_a_tag_of_no_scheme_is_refused(tag, scheme, message):
    for function in (spans, mended, transitions):
        with pytest.raises(DataError, match=message):
            function([tag], scheme)


@pytest.mark.parametrize(
    "found", [[Span("x", 0, 0)], [Span("x", 1, 3), Span("x", 2, 4)], [Span("x", 3, 6)], [Span("x", -1, 1)]]
)
def test_spans_that_do_not_fit_are_refused(found):
    with pytest.raises(DataError, match="does not fit into a sentence of 5 words"):
        encoded(found, 5, "IOB2")
