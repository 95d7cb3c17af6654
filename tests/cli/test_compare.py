"""``gateflow compare``."""

import json

from tests.cli.conftest import SMALL

WORDS = ("--cells", "gru, lstm", *SMALL[:-1])


def test_a_table_with_a_line_per_cell(gateflow, corpus):
    result = gateflow("compare", "--data", corpus, *WORDS, "--updates", 20, "--seeds", 2)
    assert result.code == 0, result.err
    _, head, *rows = result.out.splitlines()
    assert head.split() == ["cell", "parameters", "updates", "µs", "per", "token", "validation", "perplexity"]
    assert [row.split()[:3] for row in rows] == [["gru", "432", "20"], ["lstm", "576", "20"]]
    assert all("±" in row for row in rows)


def test_seeds_differ_and_the_same_budget_gives_the_same_figures(gateflow, corpus):
    words = ("compare", "--data", corpus, *WORDS, "--updates", 20, "--seeds", 2, "--json")
    first, again = (json.loads(gateflow(*words).out) for _ in range(2))
    assert [row["perplexities"] for row in first] == [row["perplexities"] for row in again]
    assert len({value for row in first for value in row["perplexities"]}) == 4


def test_minutes_become_updates(gateflow, corpus):
    (row,) = json.loads(
        gateflow("compare", "--data", corpus, "--cells", "gru", *SMALL, "--minutes", 0.01, "--json").out
    )
    assert row["updates"] > 5
    assert row["microseconds_per_token"] > 0


def test_a_budget_is_needed_and_one_only(gateflow, corpus):
    for words in ((), ("--updates", 3, "--minutes", 1)):
        result = gateflow("compare", "--data", corpus, *WORDS, *words)
        assert (result.code, result.out) == (2, "")
        assert "--updates or as --minutes" in result.err


def test_an_unknown_cell_is_found_before_anything_is_trained(gateflow, corpus):
    result = gateflow("compare", "--data", corpus, "--cells", "lstm,gruu", "--updates", 10**9)
    assert result.code == 2
    assert "no cell is called 'gruu'" in result.err
