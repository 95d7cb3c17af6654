"""``gateflow compare``."""

import json

from tests.cli.conftest import SMALL

WORDS = ("--cells", "gru, lstm", *SMALL[:-1])


def test_a_table_with_a_line_per_cell(gateflow, corpus):
    result = gateflow("compare", "--data", corpus, *WORDS, "--updates", 20, "--seeds", 2)
    assert result.code == 0, result.err
    _, head, *rows = result.out.splitlines()
    assert head.split() == [
        "cell",
        "parameters",
        "updates",
        "µs",
        "per",
        "step",
        "validation",
        "perplexity",
        "horizon",
        "of",
        "12",
    ]
    assert [row.split()[:3] for row in rows] == [["gru", "432", "20"], ["lstm", "576", "20"]]
    assert all("±" in row for row in rows)


def test_seeds_differ_and_the_same_budget_gives_the_same_figures(gateflow, corpus):
    words = ("compare", "--data", corpus, *WORDS, "--updates", 20, "--seeds", 2, "--json")
    first, again = (json.loads(gateflow(*words).out) for _ in range(2))
    assert [row["qualities"] for row in first] == [row["qualities"] for row in again]
    assert len({value for row in first for value in row["qualities"]}) == 4


def test_minutes_become_updates(gateflow, corpus):
    (row,) = json.loads(
        gateflow("compare", "--data", corpus, "--cells", "gru", *SMALL, "--minutes", 0.01, "--json").out
    )
    assert row["updates"] > 5
    assert row["microseconds_per_step"] > 0


def test_a_budget_is_needed_and_one_only(gateflow, corpus):
    for words in ((), ("--updates", 3, "--minutes", 1)):
        result = gateflow("compare", "--data", corpus, *WORDS, *words)
        assert (result.code, result.out) == (2, "")
        assert "--updates or as --minutes" in result.err


def test_an_unknown_cell_is_found_before_anything_is_trained(gateflow, corpus):
    result = gateflow("compare", "--data", corpus, "--cells", "lstm,gruu", "--updates", 10**9)
    assert result.code == 2
    assert "no cell is called 'gruu'" in result.err


def test_a_task_of_memory_needs_no_text(gateflow):
    words = (
        "compare",
        "--task",
        "adding",
        "--length",
        12,
        "--cells",
        "elman,gru",
        "--updates",
        30,
        "--hidden-size",
        6,
        "--clip",
        0.5,
    )
    rows = json.loads(gateflow(*words, "--json").out)
    assert [(row["cell"], row["updates"], row["measure"]) for row in rows] == [
        ("elman", 30, "mean squared error"),
        ("gru", 30, "mean squared error"),
    ]
    assert all(0 < row["qualities"][0] < 2 for row in rows)
    assert all(0 < row["horizons"][0] <= row["reachable"] == 11 for row in rows)
    table = gateflow(*words, "--seeds", 2).out
    assert "mean squared error" in table
    assert table.count("±") == 2


def test_options_of_another_task_are_refused(gateflow):
    for words, part in (
        (("--task", "adding", "--window", 5), "--window belongs to --task lm; --task adding has --hidden-size"),
        (("--task", "parity"), "--task parity: there are lm, adding, copy, order"),
        (("--task", "order", "--length", 3), "the task needs a length of 10 or more"),
    ):
        result = gateflow("compare", *words, "--updates", 3)
        assert (result.code, result.out) == (2, "")
        assert part in result.err


def test_a_training_that_breaks_is_a_row(gateflow):
    words = (
        "--task",
        "adding",
        "--length",
        6,
        "--cells",
        "elman,gru",
        "--hidden-size",
        3,
        "--updates",
        20,
        "--lr",
        1e30,
    )
    result = gateflow("compare", *words, "--seeds", 2)
    assert result.code == 0, result.err
    assert [row.split()[0] for row in result.out.splitlines()[-2:]] == ["elman", "gru"]
    assert "nan ± nan" in result.out
    assert json.loads(gateflow("compare", *words, "--json").out)[0]["qualities"] == [None]
