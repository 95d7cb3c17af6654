"""Recurrent layers beside a Transformer: one grid, matched parameters, and what grows with the sequences."""

import json
import math
import subprocess
import sys

import pytest
import torch
from tests.tasks.translator.pairs import pairs, write

from gateflow.cli.versus import show
from gateflow.data.stream import TokenStream
from gateflow.errors import ConfigError
from gateflow.studies import versus
from gateflow.studies.budget import Budget
from gateflow.studies.versus import Versus
from gateflow.tasks import description
from gateflow.tasks.description import Growth, StepCost
from gateflow.tasks.language_model import growth as language_model_growth
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.growth import growth, loss_by_position
from gateflow.tasks.language_model.loading import build_model
from gateflow.tasks.translator import growth as translator_growth

WORDS = ("--hidden-size", 16, "--embedding-size", 16, "--heads", 2, "--batch-size", 4, "--dropouts", "0.1")


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("a b c d\nb c d a\nc d a b\n" * 40)
    return file


@pytest.fixture
def short(monkeypatch):
    """A process for each side takes seconds; it is tried by itself, and so are long texts."""
    monkeypatch.setattr(versus, "peak_of_training", lambda task, run: 5 << 20)
    for module in (language_model_growth, translator_growth):
        monkeypatch.setattr(module, "CONTEXTS", (4, 16))


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells it")
def test_memory_counts_from_a_moment_on_whatever_has_been_taken_and_given_back_before():
    """Also by the process that starts the one which measures: a program keeps the peak of its starter."""
    program = (
        "from gateflow.studies import peak_memory as m\n"
        "large = bytearray(b'x') * (200 << 20); del large\n"
        "before = m._peak_from_now_on()\n"
        "small = bytearray(b'x') * (40 << 20)\n"
        "print(m._peak() - before)"
    )
    ballast = bytearray(b"x") * (600 << 20)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    del ballast
    assert 39 << 20 < int(result.stdout) < 60 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells it")
@pytest.mark.long
def test_the_memory_of_a_training_is_measured_in_a_process_of_its_own(text, tmp_path):
    peaks = []
    for size in (8, 768):
        model = {"hidden_size": size, "embedding_size": 8, "model": "transformer", "heads": 1}
        sections = {"data": {"train": text, "valid": text}, "model": model, "training": {"max_updates": 2}}
        run = set_up(tmp_path / str(size), LanguageModelConfig.build(sections))
        peaks.append(versus.peak_of_training("lm", run.path))
    # Weights of 12 H², as many gradients, and two moments of each.
    assert peaks[1] - peaks[0] > 4 * 12 * 768**2 * 4 * 0.9
    assert versus.peak_of_training("lm", tmp_path / "none") is None


@pytest.mark.usefixtures("short")
def test_tables_of_a_language_model(gateflow, text):
    words = (
        "--data",
        text,
        "--valid",
        text,
        "--cells",
        "gru",
        "--with",
        "transformer",
        "--window",
        5,
        "--context",
        8,
        *WORDS,
    )
    result = gateflow("compare", *words, "--updates", 6, "--lrs", "0.003,0.01", "--json")
    assert result.code == 0, result.err
    sides = json.loads(result.out)
    assert [side["side"] for side in sides] == ["gru", "transformer"]
    assert all(side["lr"] in (0.003, 0.01) and side["dropout"] == 0.1 for side in sides)
    assert all(side["growth"]["trained"] == 8 for side in sides)
    # A hidden state is as large behind any text, a cache is not; here of one layer, keys and values.
    states = [[step["bytes"] for step in side["growth"]["steps"]] for side in sides]
    assert states[0] == [64] * 2
    assert states[1] == [2 * 4 * sides[1]["width"] * length for length in (4, 16)]
    for side in sides:
        assert math.isfinite(side["growth"]["within"])
        assert math.isfinite(side["growth"]["beyond"])


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("share", "lengths"), [(1.0, [10, 10, 10]), (0.2, [2, 2, 10, 10]), (0.001, [1, 1, 10, 10])])
def test_the_grid_may_have_a_share_of_the_budget(text, monkeypatch, share, lengths):
    """Then the best point is trained anew, the first seed too, and what it costs is measured of that training."""
    made, trained = [], Versus.trained

    def watched(self, side, point, seed, updates, data, beaten):
        found = trained(self, side, point, seed, updates, data, beaten)
        made.append((point.lr, seed, updates, found.growth is not None))
        return found

    monkeypatch.setattr(Versus, "trained", watched)
    options = {
        "data": {"train": text, "valid": text},
        "model": {"hidden_size": 8, "embedding_size": 8, "heads": 2},
        "training": {"batch_size": 4, "window": 5},
    }
    sides = Versus(
        description("lm"), options, Budget(updates=10), 2, lrs=(1e-9, 0.01), dropouts=(0.1,), grid_share=share
    )
    (result, _) = sides.sides(["gru"])
    ours = made[: len(lengths)]
    assert [updates for *_, updates, _ in ours] == lengths
    assert [seed for _, seed, *_ in ours] == ([0, 0, 1] if share == 1 else [0, 0, 0, 1])
    assert all(lr == result.lr == 0.01 for lr, *_ in ours[2:])
    assert (result.updates, len(result.qualities)) == (10, 2)
    measured = [i for i, (*_, growth) in enumerate(ours) if growth]
    assert measured[-1] == (1 if share == 1 else 2)
    assert result.growth is not None


def test_a_transformer_is_diagnosed_in_json(gateflow, text, tmp_path):
    words = ("--data", text, "--valid", text, "--out", tmp_path / "run", "--model", "transformer", *WORDS[:-2])
    assert gateflow("train", "lm", *words, "--window", 5, "--epochs", 1).code == 0
    result = gateflow("diagnose", tmp_path / "run", "--json", "--out", tmp_path / "page.html")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert [finding["name"] for finding in found["findings"]] == ["no-recurrence"]
    assert list(found["by_lag"][0]["lines"]) == ["input embeddings"]


@pytest.mark.usefixtures("short")
def test_a_table_of_a_translator_without_what_its_data_have_not(gateflow, tmp_path):
    data = write(tmp_path / "train.tsv", pairs(40))
    words = ("--task", "translator", "--data", data, "--tokenizer", "char", "--cells", "gru", "--with", "transformer")
    result = gateflow("compare", *words, *WORDS, "--lr", 0.01, "--match", "time", "--minutes", 0.001)
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0] in ("gru", "transformer")}
    assert rows["gru"][-1] == rows["transformer"][-1] == "–"
    assert "5.0 MiB" in result.out
    assert [line[0] for line in lines[-2:]] == ["4", "16"]


def test_as_many_parameters(text, tmp_path):
    options = {
        "data": {"train": text, "valid": text},
        "model": {"hidden_size": 48, "embedding_size": 20, "heads": 2},
    }
    sides = Versus(description("lm"), options, Budget(updates=1))
    config = sides.configure("lstm")
    run = set_up(tmp_path / "run", config)
    wanted = sum(weight.numel() for weight in build_model(config.model, 6).parameters())
    (width, near), other = sides._matching_widths(run, wanted)
    assert min(near, other.parameters) < wanted <= max(near, other.parameters)

    def parameters(width):
        sides.width = width
        return sum(w.numel() for w in build_model(sides.configure("transformer").model, 6).parameters())

    distances = {width: abs(parameters(width) - wanted) for width in (width - 4, width, width + 4)}
    assert min(distances, key=distances.__getitem__) == width
    assert (near, other.parameters) == (parameters(width), parameters(other.width))


def test_how_equal_parameters_are_is_said(capsys):
    first = versus.VersusResult("lstm", 18_137, 48, 1e-3, 0.1, 9, 1.0, "token", None, [3.0], "m", "smaller", None, 1.0)
    show([first, first._replace(side="transformer", parameters=13_593)], versus.Width(24, 24_001), json=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "lstm 18,137, transformer 13,593: 25.1 % fewer (the next width, 24, has 24,001)" in told


RESULT = versus.VersusResult("gru", 9, 8, 1e-3, 0.1, 9, 1.0, "token", None, [3.0], "quality", "smaller", None, 1.0)
GROWTH = Growth((StepCost(4, 1.0, 64),), 8, 0.25, None, "edits per token")


@pytest.mark.parametrize("broken", ["gru", "transformer"])
def test_a_side_whose_trainings_have_all_broken_is_a_row_too(capsys, broken):
    sides = [RESULT._replace(side=side, growth=GROWTH) for side in ("gru", "transformer")]
    show([each._replace(growth=None) if each.side == broken else each for each in sides], None, json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (head,) = (line for line in lines if line[0] == "parameters")
    assert head[-6:] == ["edits", "per", "token", "to", "8", "beyond"]
    rows = {line[0]: line[-2:] for line in lines if line[0] in ("gru", "transformer")}
    assert rows[broken] == ["–", "–"]
    assert rows.keys() == {"gru", "transformer"}
    assert [row for side, row in rows.items() if side != broken] == [["0.25", "–"]]


def test_sides_that_are_done_are_shown_whatever_ends_the_others(gateflow, text, monkeypatch):
    def stopped(self, cells):
        self.next_width = versus.Width(24, 24_001)
        yield RESULT
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Versus, "sides", stopped)
    result = gateflow("compare", "--data", text, "--cells", "gru", "--with", "transformer", "--updates", 1)
    assert result.code == 1
    assert "Parameters of gru, which the Transformer would have had as well" in " ".join(result.out.split())
    assert [line.split()[1] for line in result.out.splitlines() if line.startswith("gru")] == ["9"]


def test_heads_divide_the_width_that_is_found_and_need_not_divide_that_of_the_cells(text, tmp_path):
    options = {
        "data": {"train": text, "valid": text},
        "model": {"hidden_size": 50, "embedding_size": 20, "heads": 3},
    }
    sides = Versus(description("lm"), options, Budget(updates=1))
    run = set_up(tmp_path / "run", sides.configure("lstm"))
    (nearest, other) = sides._matching_widths(run, 20_000)
    assert nearest.width % 6 == other.width % 6 == 0
    with pytest.raises(ConfigError, match="--hidden-size 50 gives each"):
        Versus(description("lm"), options, Budget(minutes=1.0), match="time").configure("transformer")


@pytest.mark.usefixtures("short")
def test_an_update_of_each_side_is_timed_at_one_point(text, monkeypatch):
    timed = []

    def seconds(self, side, data):
        timed.append((side, self.configure(side).model.dropout))
        return 60.0

    monkeypatch.setattr(Versus, "seconds_of_one_update", seconds)
    options = {
        "data": {"train": text, "valid": text},
        "model": {"hidden_size": 8, "embedding_size": 8, "heads": 2},
        "training": {"batch_size": 4, "window": 5},
    }
    sides = Versus(description("lm"), options, Budget(minutes=1.0), lrs=(0.01,), dropouts=(0.0, 0.3))
    monkeypatch.setattr(sides, "peak", lambda *_: None)
    # With initial weights, which are no part of a cell's name.
    assert [side.side for side in sides.sides(["lstm:chrono"])] == ["lstm:chrono", "transformer"]
    assert timed == [("lstm:chrono", 0.0), ("transformer", 0.0)]


def test_a_share_is_a_number():
    with pytest.raises(ConfigError, match="--grid-share nan: give a number from 0 to 1"):
        list(Versus(description("lm"), {}, Budget(updates=1), grid_share=math.nan).sides(["gru"]))


@pytest.mark.usefixtures("short")
def test_the_cells_have_initial_weights_and_a_width_that_heads_need_not_cut(gateflow, text):
    words = ("--data", text, "--valid", text, "--cells", "lstm:forget:1,gru", "--with", "transformer", "--window", 5)
    words += ("--hidden-size", 10, "--embedding-size", 8, "--batch-size", 4, "--context", 8, "--updates", 1)
    result = gateflow("compare", *words, "--lr", 0.01, "--dropout", 0.1, "--json")
    assert result.code == 0, result.err
    sides = json.loads(result.out)
    assert [side["side"] for side in sides] == ["lstm:forget:1", "gru", "transformer"]
    assert [side["width"] for side in sides[:2]] == [10, 10]
    assert sides[2]["width"] % 8 == 0


@pytest.mark.usefixtures("short")
def test_what_fits_no_side_is_told_before_one_is_trained(gateflow, text, monkeypatch):
    monkeypatch.setattr(Versus, "side", lambda *_: pytest.fail("a side is trained"))
    words = ("compare", "--data", text, "--valid", text, "--with", "transformer", "--updates", 1)
    for more, message in (
        (("--cells", "gru", "--lrs", "0.01,0"), "--lr 0"),
        (("--cells", "gru,elman:chrono:5"), "Elman has no gate that keeps a memory"),
        (("--cells", "gru", "--match", "time", "--minutes", 1, "--hidden-size", 10), "--hidden-size 10"),
    ):
        result = gateflow(*(words[:-2] if "--minutes" in more else words), *more)
        assert (result.code, result.out) in ((1, ""), (2, ""))
        assert message in result.err


def test_a_loss_by_position_is_that_of_whole_stretches(text, tmp_path):
    model = {"model": "transformer", "hidden_size": 8, "embedding_size": 6, "heads": 2, "context": 3}
    training = {"batch_size": 3, "window": 4}
    config = LanguageModelConfig.build({"data": {"train": text, "valid": text}, "model": model, "training": training})
    run, made = set_up(tmp_path / "run", config), build_model(config.model, 6).eval()
    nats, counts = loss_by_position(made, run, 12, rows=2)
    made.transformer.context = None
    stretches = [pair for pair in TokenStream(run.tokens_file("valid"), 1, 12).windows() if len(pair[0]) == 12]
    with torch.no_grad():
        wanted = sum(float(made(*pair)[0]) * 12 for pair in stretches[: int(counts[0])])
    assert float(nats.sum()) == pytest.approx(wanted, rel=1e-5)
    assert int(counts[0]) == len(stretches)
    made.transformer.context = 3
    found = growth(run, made)
    assert made.transformer.context == 3
    # As far as a layer has looked back: farther than in training begins behind the context, whatever the window.
    nats, counts = loss_by_position(made, run, 12, rows=3)
    assert found.trained == 3
    assert found.within == pytest.approx(math.exp(float(nats[:3].sum()) / int(counts[:3].sum())))
    assert found.beyond == pytest.approx(math.exp(float(nats[3:].sum()) / int(counts[3:].sum())))
    assert loss_by_position(made, run, 10_000, rows=2) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--with", "rnn"), "--with rnn: there is transformer"),
        (("--with", "transformer", "--match", "time"), "--match time gives both sides one time"),
        (("--with", "transformer", "--match", "size"), "--match size: there are parameters, time"),
        (("--with", "transformer", "--lrs", "fast"), "--lrs fast: give numbers"),
        (("--with", "transformer", "--dropouts", "0,1"), "--dropouts 0,1: give numbers from 0 to below 1"),
        (("--with", "transformer", "--momentum", 0.5), "--momentum 0.5 would do nothing"),
        (("--match", "time"), "--match belongs to --with transformer"),
        (("--grid-share", 0.1), "--grid-share belongs to --with transformer"),
        (("--heads", 2), "--heads 2 would do nothing: it belongs to --model transformer"),
    ],
)
def test_what_cannot_be_compared(gateflow, text, words, message):
    result = gateflow("compare", "--data", text, "--cells", "gru", "--updates", 1, *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.usefixtures("short")
def test_a_training_that_breaks_loses_to_all_others(gateflow, text, monkeypatch):
    """At such a rate nothing is learnt, or numbers overflow; the other point of the grid is chosen."""
    words = ("--data", text, "--valid", text, "--cells", "gru", "--with", "transformer", *WORDS, "--window", 5)
    result = gateflow("compare", *words, "--context", 8, "--updates", 4, "--lrs", "1e12,0.003", "--json")
    assert result.code == 0, result.err
    assert [side["lr"] for side in json.loads(result.out)] == [0.003, 0.003]


def test_a_task_without_a_transformer():
    with pytest.raises(ConfigError, match="--task tagger has no Transformer"):
        Versus(description("tagger"), {"data": {"train": "x"}}, Budget(updates=1)).configure("gru")
