"""Pairs as they are read, and what is refused."""

import gzip

import pytest

from gateflow.data.agreement import split, write_pairs
from gateflow.data.pairs import Pair, pairs_of, read_pairs
from gateflow.errors import DataError


def test_what_the_grammar_writes_is_read_back(tmp_path):
    sentences = split(0, 40, seed=0)[1]
    write_pairs(sentences, tmp_path / "pairs.tsv")
    found = list(read_pairs(tmp_path / "pairs.tsv"))
    assert [(p.grammatical, p.ungrammatical) for p in found] == [(s.grammatical, s.ungrammatical) for s in sentences]
    for pair, made in zip(found, pairs_of(sentences), strict=True):
        assert pair.construct.split("_") == [made.construct.split()[k] for k in (0, 1, 3)]


def test_marvin_and_linzens_layout_in_gzip(tmp_path):
    lines = [
        "construct\tcondition\tgrammatical\tungrammatical\tungrammatical2",
        'simple_agrmt\tsing\tthe "author" laughs\tthe "author" laugh',
        "npi\tplur\tno one ever\tthe one ever\tmost one ever",
        "",
    ]
    (tmp_path / "pairs.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert list(read_pairs(tmp_path / "pairs.tsv.gz")) == [
        Pair("simple_agrmt", 'the "author" laughs', 'the "author" laugh'),
        Pair("npi", "no one ever", "the one ever"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good\tbad\na\tb\n", "first line must name the columns `grammatical` and `ungrammatical`"),
        ("grammatical\tungrammatical\nthe cat sleeps\n", "line 2: a pair needs two sentences"),
        ("", "empty"),
    ],
)
def test_what_is_no_list_of_pairs_is_refused(tmp_path, text, message):
    (tmp_path / "pairs.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(read_pairs(tmp_path / "pairs.tsv"))
