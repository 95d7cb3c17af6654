"""Figures of tags and spans: as seqeval says in strict mode, and by hand."""

import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB1, IOB2, IOBES

from gateflow.data.spans import SCHEMES, mended
from gateflow.errors import DataError, ShapeError
from gateflow.tasks.score import Average, Score
from gateflow.tasks.tagger.measures import INVENTED, MISSED, Measures

JUDGES = {"IOB1": IOB1, "IOB2": IOB2, "BIOES": IOBES}


@st.composite
def columns(draw, scheme):
    """Gold and predicted tags of some sentences, wrong sequences among them."""
    tags = ["O", *(f"{letter}-{type}" for letter in SCHEMES[scheme] if letter != "O" for type in ("x", "y-z", "w"))]
    tag = st.sampled_from(tags)
    pairs = draw(st.lists(st.lists(st.tuples(tag, tag), min_size=1, max_size=12), min_size=1, max_size=6))
    return [[g for g, _ in sentence] for sentence in pairs], [[p for _, p in sentence] for sentence in pairs]


def measured(scheme, gold, predicted, seen=None):
    measures = Measures(scheme)
    for k, (right, guess) in enumerate(zip(gold, predicted, strict=True)):
        measures.add(right, guess, seen and seen[k])
    return measures


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_seqeval_in_strict_mode_says_the_same(scheme, data):
    gold, predicted = data.draw(columns(scheme))
    measures = measured(scheme, gold, predicted)
    right, guess = ([mended(tags, scheme)[0] for tags in side] for side in (gold, predicted))
    options = {"scheme": JUDGES[scheme], "zero_division": 0}
    with warnings.catch_warnings():
        # numpy's own, of seqeval's means over no type at all.
        warnings.simplefilter("ignore", RuntimeWarning)
        for average, ours in (("micro", measures.micro()), ("macro", measures.macro())):
            theirs = precision_recall_fscore_support(right, guess, average=average, **options)[:3]
            if measures.per_type():
                assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs, abs=1e-12)
        if measures.per_type():
            report = classification_report(right, guess, output_dict=True, mode="strict", **options)
            assert {
                name: {"precision": s.precision, "recall": s.recall, "f1-score": s.f1, "support": s.gold}
                for name, s in measures.per_type().items()
            } == {name: pytest.approx(row, abs=1e-12) for name, row in report.items() if " avg" not in name}


@given(data=st.data())
def test_of_wrong_sequences_as_they_are_conlleval_says_the_same(data):
    gold, predicted = data.draw(columns("IOB2"))
    measures = measured("IOB2", gold, predicted)
    if measures.per_type():
        assert measures.micro().f1 == pytest.approx(f1_score(gold, predicted, zero_division=0), abs=1e-12)


@pytest.mark.parametrize("scheme", [*SCHEMES, None])
@given(data=st.data())
def test_figures_of_parts_add_up(scheme, data):
    gold, predicted = data.draw(columns(scheme or "IOB2"))
    seen = [[data.draw(st.booleans()) for _ in tags] for tags in gold]
    cut = data.draw(st.integers(0, len(gold)))
    parts = [measured(scheme, gold[part], predicted[part], seen[part]) for part in (slice(cut), slice(cut, None))]
    whole = measured(scheme, gold, predicted, seen)
    assert parts[0] + parts[1] == whole
    assert sum(whole.per_type().values(), Score()) == whole.micro()
    assert sum(whole.by_length().values(), Score()) == whole.micro()
    assert sum(whole.by_seen().values(), Score()) == whole.micro()
    assert sum(map(sum, whole.confusion().counts)) == whole.cases.total()


def test_plain_tags():
    measures = measured(None, [["DET", "NOUN", "VERB"], ["NOUN"]], [["DET", "VERB", "VERB"], ["NOUN"]])
    assert measures.accuracy == measures.micro().f1 == 0.75
    assert measures.per_type() == {"DET": Score(1, 1, 1), "NOUN": Score(2, 1, 1), "VERB": Score(1, 2, 1)}
    assert measures.macro() == Average(pytest.approx(2.5 / 3), pytest.approx(2.5 / 3), pytest.approx(7 / 9))
    table = measures.confusion()
    assert table.rows == table.columns == ("DET", "NOUN", "VERB")
    assert table.counts == ((1, 0, 0), (0, 1, 1), (0, 0, 1))
    assert measures.mistakes() == [("NOUN", "VERB", 1)]


def test_spans_that_are_missed_invented_or_of_another_type():
    gold = ["B-x", "I-x", "O", "B-y", "O", "B-y", "I-y"]
    predicted = ["B-y", "I-y", "O", "B-y", "O", "B-y", "B-x"]
    measures = measured("IOB2", [gold], [predicted])
    table = measures.confusion()
    assert (table.rows, table.columns) == (("x", "y", INVENTED), ("x", "y", MISSED))
    assert table.counts == ((0, 1, 0), (0, 1, 1), (1, 1, 0))
    assert measures.micro() == Score(gold=3, predicted=4, correct=1)
    assert measures.accuracy == pytest.approx(4 / 7)


def test_what_was_mended_is_counted():
    measures = measured("IOB2", [["O", "I-x"]], [["I-x", "I-x"]])
    assert (measures.mended_gold, measures.mended_predicted) == (1, 1)
    assert measures.micro() == Score(1, 1, 0)


def test_by_length_and_by_what_was_seen():
    gold = [["B-x", "I-x", "B-x"], ["B-x"] + ["O"] * 10, ["B-x"] * 41]
    measures = measured("IOB2", gold, gold, [[True, False, True], [True] * 11, [False] * 41])
    assert {name: score.gold for name, score in measures.by_length().items()} == {
        "1 to 10": 2,
        "11 to 20": 1,
        "41 or more": 41,
    }
    # A span is seen if all of its words are.
    assert {name: score.gold for name, score in measures.by_seen().items()} == {"seen": 2, "unseen": 42}
    assert measured("IOB2", gold, gold).by_seen() == {}


def test_nothing_is_no_division_by_zero():
    for measures in (Measures(), Measures("IOB2"), measured("BIOES", [["O", "O"]], [["O", "O"]])):
        assert measures.micro() == Score()
        assert measures.macro() == Average(0, 0, 0)
        assert measures.micro().f1 == 0
        assert measures.by_length() == measures.by_seen() == {}
    assert Measures().accuracy == 0


def test_figures_are_json():
    measures = measured("IOB2", [["B-x", "O"]], [["B-x", "B-y"]], [[True, False]])
    figures = json.loads(json.dumps(measures.figures()))
    assert figures["micro"] == {"gold": 1, "predicted": 2, "correct": 1, "precision": 0.5, "recall": 1, "f1": 2 / 3}
    assert figures["confusion"] == {
        "gold": ["x", "y", "invented"],
        "predicted": ["x", "y", "missed"],
        "counts": [[1, 0, 0], [0, 0, 0], [0, 1, 0]],
    }
    assert set(figures["by_seen"]) == {"seen", "unseen"}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="A sentence of 2 tags has 1 predicted. Give as many"):
        Measures().add(["DET", "NOUN"], ["DET"])
    with pytest.raises(ShapeError, match="and 1 are known to be seen or not"):
        Measures().add(["DET", "NOUN"], ["DET", "NOUN"], [True])
    with pytest.raises(ShapeError, match="schemes IOB1 and IOB2 cannot be added"):
        Measures("IOB1") + Measures("IOB2")
    with pytest.raises(DataError, match=r"'E-x' \(tag 1\) is no tag of IOB2"):
        Measures("IOB2").add(["B-x"], ["E-x"])
