"""``gateflow compare``."""

import json

import pytest
from tests.cli.conftest import SMALL
from tests.tasks.classifier.texts import opinions
from tests.tasks.classifier.texts import write as write_texts
from tests.tasks.tagger.sentences import sentences, write

from gateflow.errors import ConfigError
from gateflow.studies.budget import Budget, CellResult
from gateflow.studies.comparison import Comparison
from gateflow.studies.memory_comparison import MemoryComparison
from gateflow.training.loop import TrainingLoop

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


def test_a_budget_is_updates_or_minutes_and_a_minute_if_neither_is_typed(gateflow, corpus, monkeypatch):
    monkeypatch.setattr("gateflow.cli.compare.USUAL", 1e-6)
    usual = gateflow("compare", "--data", corpus, *WORDS, "--cells", "gru", "--json")
    assert json.loads(usual.out)[0]["updates"] == 1
    both = gateflow("compare", "--data", corpus, *WORDS, "--updates", 3, "--minutes", 1)
    assert (both.code, both.out) == (2, "")
    assert "either as --updates or as --minutes" in both.err


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
        (("--task", "adding", "--window", 5), "--window belongs to --task lm and forecaster; --task adding has"),
        (("--task", "agrement"), "--task agrement: did you mean agreement? there are lm, tagger"),
        (
            ("--task", "parity"),
            "parity: there are lm, tagger, classifier, forecaster, transcriber, translator, agreement, adding, copy",
        ),
        (("--task", "order", "--length", 3), "the task needs a length of 10 or more"),
    ):
        result = gateflow("compare", *words, "--updates", 3)
        assert (result.code, result.out) == (2, "")
        assert part in result.err


def test_an_option_that_is_typed_for_another_task_says_whose_it_is(gateflow, tagged):
    for words, part in (
        (("--crf",), "--crf belongs to --task tagger; --task lm: see gateflow compare --task lm --help"),
        (("--task", "tagger", "--window", 5), "--window belongs to --task lm and forecaster; --task tagger: see"),
        (("--task=tagger", "--no-tied"), "--no-tied belongs to --task lm and translator"),
        (("--task", "tagger", "--length", 5), "--length belongs to --task adding and copy and order"),
        (("--no-crf", "--task", "copy"), "--no-crf belongs to --task tagger; --task copy has --hidden-size"),
    ):
        result = gateflow("compare", *words, "--data", tagged, "--updates", 3)
        assert (result.code, result.out) == (2, "")
        assert part in result.err
    assert "No such option: --layer" in gateflow("compare", "--task", "tagger", "--layer", 2).err


TAGGER = ("--hidden-size", 12, "--embedding-size", 8, "--character-size", 4, "--batch-size", 4, "--lr", 0.02)


@pytest.fixture(name="tagged", scope="module")
def _tagged(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tagged") / "train.conll", sentences(60))


def test_a_tagger_is_judged_by_its_own_measure(gateflow, tagged):
    words = ("compare", "--task", "tagger", "--data", tagged, "--cells", "gru, lstm", *TAGGER, "--dropout", 0.1)
    result = gateflow(*words, "--updates", 2, "--seeds", 2)
    assert result.code == 0, result.err
    title, head, *rows = result.out.splitlines()
    assert "the larger the better" in title
    for words_of_head in ("µs per word", "validation F1", "horizon of 8"):
        assert words_of_head in head
    assert [row.split()[0] for row in rows] == ["gru", "lstm"]
    assert all("±" in row for row in rows)
    gru, lstm = json.loads(gateflow(*words, "--updates", 90, "--json").out)
    assert (gru["measure"], gru["better"], gru["target"]) == ("validation F1", "larger", "word")
    assert lstm["parameters"] * 3 == gru["parameters"] * 4
    assert all(0 <= quality <= 1 for row in (gru, lstm) for quality in row["qualities"])
    assert max(gru["qualities"] + lstm["qualities"]) > 0.3
    assert all(0 < horizon <= row["reachable"] for row in (gru, lstm) for horizon in row["horizons"])


def test_a_comparison_finds_what_a_training_finds(gateflow, tagged, tmp_path):
    words = ("--data", tagged, *TAGGER, "--no-crf", "--characters", "cnn", "--no-bidirectional", "--seed", 3)
    (row,) = json.loads(gateflow("compare", "--task", "tagger", *words, "--cells=gru", "--updates=40", "--json").out)
    trained = gateflow("train", "tagger", *words, "--cell=gru", "--max-updates=40", "--out", tmp_path / "run", "--json")
    assert row["qualities"] == [json.loads(trained.out)["validation_f1"]]


def test_plain_tags_and_several_columns_have_their_own_words(gateflow, tmp_path):
    file = tmp_path / "train.conll"
    file.write_text("Teddy\tN\tx\nsleeps\tV\ty\n\nbears\tN\tx\ncame\tV\tz\n\n" * 12)
    words = ("compare", "--task", "tagger", "--data", file, "--cells=gru", *TAGGER, "--updates=2", "--json")
    assert json.loads(gateflow(*words).out)[0]["measure"] == "validation accuracy"
    both = json.loads(gateflow(*words, "--columns", "2,3").out)
    assert both[0]["measure"] == "validation mean of the columns"


def test_what_one_cell_refuses_is_told_before_another_is_trained(gateflow, tagged, tmp_path, monkeypatch):
    lm, text = tmp_path / "lm", tmp_path / "text"
    text.write_text("".join(" ".join(words) + "\n" for words, _ in sentences(60)))
    assert gateflow("train", "lm", "--data", text, "--out", lm, *SMALL).code == 0
    monkeypatch.setattr(TrainingLoop, "train", lambda loop: pytest.fail("a cell was trained"))
    words = ("compare", "--task", "tagger", "--data", tagged, "--hidden-size", 8, "--embedding-size", 8)
    result = gateflow(*words, "--from-lm", lm, "--cells", "lstm,gru", "--updates", 3)
    assert (result.code, result.out) == (2, ""), result.err
    assert "has --cell lstm, and this tagger --cell gru" in result.err


CLASSIFIER = ("--hidden-size", 12, "--batch-size", 16, "--lr", 0.02, "--warmup", 0, "--dropout", 0.1)


def test_a_classifier_of_texts(gateflow, tmp_path):
    data = write_texts(tmp_path / "films.tsv", opinions(200))
    words = ("compare", "--task", "classifier", "--data", data, "--cells", "gru, lstm", *CLASSIFIER)
    words = (*words, "--embedding-size", 12, "--read-out=attention")
    result = gateflow(*words, "--updates", 2, "--seeds", 2)
    assert result.code == 0, result.err
    title, head, *rows = result.out.splitlines()
    assert "the larger the better" in title
    assert "µs per text" in head
    assert "validation accuracy" in head
    assert [row.split()[0] for row in rows] == ["gru", "lstm"]
    assert all("±" in row for row in rows)
    gru, lstm = json.loads(gateflow(*words, "--updates", 60, "--metric", "macro_f1", "--json").out)
    assert (gru["measure"], gru["better"], gru["target"]) == ("validation macro F1", "larger", "text")
    assert lstm["parameters"] * 3 == gru["parameters"] * 4
    assert max(gru["qualities"] + lstm["qualities"]) > 0.7
    assert all(0 < horizon <= row["reachable"] for row in (gru, lstm) for horizon in row["horizons"])


@pytest.mark.parametrize(
    ("options", "measure", "better", "target"),
    [
        ((), "accuracy", "larger", "series"),
        (("--regression",), "RMSE", "smaller", "series"),
        (("--per-step", "--label", "step"), "accuracy", "larger", "step"),
    ],
)
def test_a_classifier_of_series(gateflow, tmp_path, options, measure, better, target):
    rows = (f"{s},{t},{t * (s % 2) + s / 9:.2f},{s % 2},{t % 2}" for s in range(40) for t in range(3 + s % 5))
    (data := tmp_path / "series.csv").write_text("\n".join(["series,t,x,label,step", *rows]))
    columns = ("--input=series", "--series=series", "--time=t", "--channels=x")
    options = options if "--per-step" in options else (*options, "--label=label")
    words = ("compare", "--task", "classifier", "--data", data, *columns, *options, "--cells", "gru,lstm", *CLASSIFIER)
    result = gateflow(*words, "--updates", 3, "--seeds", 2, "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    for row in rows:
        assert (row["measure"], row["better"], row["target"]) == (f"validation {measure}", better, target)
        assert (len(row["qualities"]), row["updates"]) == (2, 3)
        assert all(0 <= horizon <= row["reachable"] <= 6 for horizon in row["horizons"])
    assert [row["cell"] for row in rows] == ["gru", "lstm"]


def test_a_comparison_of_classifiers_finds_what_a_training_finds(gateflow, tmp_path):
    data = write_texts(tmp_path / "films.tsv", opinions(120))
    words = ("--data", data, *CLASSIFIER, "--embedding-size", 8, "--read-out", "attention", "--seed", 3)
    compared = gateflow("compare", "--task", "classifier", *words, "--cells=gru", "--updates=30", "--json")
    out = ("--cell=gru", "--max-updates=30", "--out", tmp_path / "run", "--json")
    trained = json.loads(gateflow("train", "classifier", *words, *out).out)
    assert json.loads(compared.out)[0]["qualities"] == [trained["validation_accuracy"]]


def test_cells_agree_over_some_distance(gateflow):
    words = ("--task", "agreement", "--cells", "elman,lstm", "--sentences", 64, "--tested", 40, "--hidden-size", 6)
    rows = json.loads(gateflow("compare", *words, "--updates", 2, "--json").out)
    assert [(row["cell"], row["measure"], row["target"]) for row in rows] == [
        ("elman", "validation accuracy", "sentence"),
        ("lstm", "validation accuracy", "sentence"),
    ]
    assert all(row["reachable"] > 50 for row in rows)


def test_a_tagger_that_breaks_is_a_row(gateflow, tagged):
    words = ("--data", tagged, *TAGGER[:-2], "--cells", "elman,gru", "--lr", 1e38, "--updates", 30)
    result = gateflow("compare", "--task", "tagger", *words, "--no-crf")
    assert result.code == 0, result.err
    assert [row.split()[0] for row in result.out.splitlines()[-2:]] == ["elman", "gru"]
    rows = json.loads(gateflow("compare", "--task", "tagger", *words, "--no-crf", "--json").out)
    assert [row["qualities"] for row in rows] == [[None], [None]]


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


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("out of memory"), 1)])
@pytest.mark.parametrize("kind", [Comparison, MemoryComparison])
def test_what_ends_it_early_costs_nothing_that_was_done(gateflow, corpus, monkeypatch, kind, error, code):
    def stopped(self, cells):
        yield CellResult("gru", 123, 1, 0.5, [1.0], [7], 99, "perplexity")
        raise error

    monkeypatch.setattr(kind, "results", stopped)
    words = ("--data", corpus) if kind is Comparison else ("--task", "adding")
    result = gateflow("compare", *words, "--cells", "gru,lstm", "--updates", 1)
    assert result.code == code
    assert "gru" in result.out
    assert "123" in result.out
    assert "Traceback" not in result.err


@pytest.mark.parametrize("minutes", [float("nan"), float("inf")])
def test_a_budget_is_a_number(minutes):
    with pytest.raises(ConfigError, match=f"--minutes {minutes}: give a number"):
        Budget(minutes=minutes).check()
