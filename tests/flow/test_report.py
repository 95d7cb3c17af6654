"""The report as a page: what it says is what was measured, and it needs nothing but itself."""

import dataclasses
import errno
import json
import math
import os
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from gateflow import flow
from gateflow.errors import WriteError
from gateflow.flow import Activation, LayerGates
from gateflow.flow.report import page, write
from gateflow.flow.report.openness import half_lives, words

WORDS = ["the", "<unk>", "of", "</script>", "&", "“cats”", "{{ x }}", "are", "rusty", "."]


class Cutting(nn.Module):
    """Detaches the state in the middle."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 6)

    def forward(self, x):
        first, state = self.rnn(x[:12])
        return torch.cat([first, self.rnn(x[12:], tuple(part.detach() for part in state))[0]])


def diagnosed(model=None, steps=20, **options):
    torch.manual_seed(0)
    return flow.diagnose(model or nn.LSTM(3, 6), torch.randn(steps, 2, 3), **options)


def figures(text):
    """By the title of their section: what is drawn there."""
    found = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    body, drawn = text[: text.index('<script type="application/json"')], {}
    for section in re.findall(r"<section>.*?</section>", body, re.S):
        title = re.search(r"<h2>(.*?)</h2>", section)[1]
        drawn[title] = [found[int(k)] for k in re.findall(r'id="figure-(\d+)"', section)]
    return drawn


class Parsed(HTMLParser):
    """Words outside of scripts, and every address."""

    def __init__(self, text):
        super().__init__()
        self.words, self.addresses, self.inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def report():
    return diagnosed(needed_lag=15, window=10, tokens=WORDS * 2)


@pytest.fixture(scope="module")
def text(report):
    return page(report)


def test_every_figure_is_one_that_plotly_knows(text):
    for drawn in figures(text).values():
        for figure in drawn:
            plain = json.loads(re.sub(r"var\(--[\w-]+\)", "#123456", json.dumps(figure)))
            go.Figure(plain["data"], plain["layout"])


def test_nothing_is_loaded_from_anywhere(text):
    assert Parsed(text[: text.index('<script type="application/json"')]).addresses == []
    assert "default-src 'none'" in text
    assert "@import" not in text.split("</style>")[0]


def test_findings_come_first_with_evidence_remedy_code_and_source(report, text):
    said = " ".join(" ".join(Parsed(text).words).split())
    for finding in report.findings:
        assert finding.says in said
        assert finding.remedy in said
        assert " ".join(finding.code.split()) in said
        assert finding.source in said
        assert all(name in said for name in finding.evidence)
    assert said.index(report.findings[0].says) < said.index("How far the gradient reaches")


def test_a_finding_of_several_layers_is_one_card_with_the_numbers_of_each():
    report = diagnosed(nn.LSTM(3, 6, num_layers=3), steps=40, needed_lag=30)
    halves = [finding for finding in report.findings if finding.name == "short-half-life"]
    assert len(halves) == 3
    text = page(report)
    (card,) = re.findall(r"<article(?:(?!</article>).)*short half life.*?</article>", text, re.S)
    assert all(finding.where in card and finding.says in card for finding in halves)
    assert card.count("and in 2 more") == 1
    assert " ".join(" ".join(Parsed(text).words).split()).startswith(
        "Gradient flow of LSTM Gradient flow of LSTM l0 to l2:"
    )


def test_a_number_that_there_is_not_is_no_evidence_on_the_page():
    report = diagnosed(window=5)
    (finding,) = (finding for finding in report.findings if finding.name == "window-too-short")
    assert math.isnan(finding.evidence["needed lag"])
    assert ">nan<" not in page(report).replace(" ", "").replace("\n", "")
    assert "nan" not in " ".join(Parsed(page(report)).words).split()


def test_the_horizon_is_drawn_with_the_loss_if_it_was_watched():
    records = [{"step": 1, "loss": 5.0, "horizon": 7}, {"step": 2, "loss": 4.0}, {"step": 3, "loss": 3.0, "horizon": 9}]
    text = page(diagnosed(history=records))
    (figure,) = figures(text)["How it went in training"]
    assert [(line["name"], line["x"], line["y"]) for line in figure["data"]] == [
        ("horizon", [1, 3], [7, 9]),
        ("loss", [1, 2, 3], [5.0, 4.0, 3.0]),
    ]
    assert "How it went in training" not in figures(page(diagnosed(history=records[:2])))


def test_the_heatmap_is_the_reach_as_shares_of_its_diagonal(report, text):
    layer = report.reach.layers["l0"]
    shares = (layer.norms / layer.norms.diagonal().T[:, None]).clamp(min=layer.decay.floor).log10().nanmean(-1)
    (figure,) = figures(text)["How far the gradient reaches"]
    drawn = torch.tensor([[float("nan") if z is None else z for z in row] for row in figure["data"][0]["z"]])
    torch.testing.assert_close(drawn, shares, atol=2e-2, rtol=0, equal_nan=True)
    assert [trace["name"] for trace in figure["data"]] == ["full state", "h", "c"]
    assert figure["labels"] == WORDS * 2


def test_the_decay_is_drawn_as_measured_with_its_horizon(report, text):
    layer = report.reach.layers["l0"]
    (figure,) = figures(text)["How it fades with distance"]
    line, dot = figure["data"]
    torch.testing.assert_close(
        torch.tensor(line["y"]).double(), layer.decay.values[: len(line["y"])], rtol=1e-3, atol=0
    )
    assert dot["x"] == [layer.horizon]
    labels = [annotation["text"] for annotation in figure["layout"]["annotations"]]
    assert labels == ["1 %: the horizon", "needed: 15", "training window: 10"]


def test_half_lives_are_all_counted(report, text):
    (figure,) = figures(text)["How long units remember"]
    assert sum(figure["data"][0]["y"]) == 6


def test_what_is_cut_is_hatched_and_not_drawn_as_vanished():
    text = page(diagnosed(Cutting(), steps=24))
    (figure,) = figures(text)["How far the gradient reaches"]
    z = figure["data"][0]["z"]
    assert all(z[t][k] is None for t in range(12, 24) for k in range(12))
    (hatched,) = [trace for trace in figure["data"] if trace["type"] == "scatter"]
    assert hatched["fillpattern"]["shape"] == "/"
    assert (min(hatched["x"]), max(hatched["x"]), min(hatched["y"]), max(hatched["y"])) == (-0.5, 11.5, 11.5, 23.5)
    assert "that is not vanishing" in text


def test_long_sequences_are_averaged_into_blocks_and_said_to_be():
    text = page(diagnosed(nn.RNN(3, 4), steps=300, compare=False))
    (figure,) = figures(text)["How far the gradient reaches"]
    z = figure["data"][0]["z"]
    assert (len(z), len(z[0])) == (150, 150)
    assert figure["data"][0]["x"][:2] == [0.5, 2.5]
    assert "Each cell is the mean of 2 × 2 steps: 300 steps in all." in text


def test_words_of_the_text_are_words_and_not_markup(text):
    said = Parsed(text).words
    assert "</script>" in said
    assert "{{ x }}" in said
    assert text.count("</script>") == 3
    assert "What the gates do" in figures(text)


def test_a_row_that_has_ended_has_no_words():
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(10, 2, 3), [4, 10], enforce_sorted=False)
    report = flow.diagnose(nn.GRU(3, 4), packed, tokens=WORDS)
    assert page(report).count('title="keeps') == 4


def test_a_row_without_steps_has_no_words_at_all():
    layer = LayerGates("l0", {"forget": Activation("sigmoid", torch.full((5, 2, 3), torch.nan))}, None, ("forget", 1))
    assert words(layer, WORDS) == []


def test_a_gate_that_is_quite_open_or_shut_is_counted_among_the_longest_or_shortest():
    extremes = torch.tensor([math.inf, -math.inf, math.nan, 0.0, 3.0], dtype=torch.float64)  # ln ½ / ±0 is ±infinite
    figure = half_lives(LayerGates("l0", {}, extremes, ("forget", 1)), None)
    assert figure is not None
    bars = [
        (length, count) for length, count in zip(figure.traces[0]["x"], figure.traces[0]["y"], strict=True) if count
    ]
    assert [count for _, count in bars] == [2, 1, 2]
    assert [length for length, _ in bars] == pytest.approx([0.05, 3, 1e5], rel=0.25)


def test_a_loss_at_the_last_step_is_one_row():
    torch.manual_seed(0)
    report = flow.diagnose(nn.GRU(3, 4), torch.randn(20, 2, 3), lambda m, x: m(x)[0][-1].sum(), compare=False)
    (figure,) = figures(text := page(report))["How far the gradient reaches"]
    assert len(figure["data"][0]["z"]) == 1
    assert figure["layout"]["yaxis"]["tickvals"] == [19]
    assert '<figure class="wide">' in text


def test_models_without_gates_lags_or_terms_have_a_shorter_page():
    report = diagnosed(nn.RNN(3, 4), compare=False)
    text = page(dataclasses.replace(report, terms=None, lyapunov=None))
    assert set(figures(text)) == {
        "How far the gradient reaches",
        "How it fades with distance",
        "What the gates do",
        "Words",
    }
    assert "needed lag</dt><dd><strong>" not in text


def test_a_growing_gradient_has_a_scale_beyond_all():
    model = nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        model.weight_hh_l0.copy_(1.5 * torch.eye(4))
        model.bias_hh_l0.fill_(1.0)
    (figure,) = figures(text := page(diagnosed(model, compare=False)))["How far the gradient reaches"]
    assert figure["data"][0]["zmax"] >= 3
    assert "explodes if it goes" in text


def test_it_appears_whole_or_not_at_all(tmp_path, report, monkeypatch):
    path = write(report, tmp_path / "flow.html")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"could not write .*flow\.html: No space left on device"):
        write(report, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["flow.html"]


def test_clipping_is_drawn_over_training(report):
    records = [{"step": 50 * k, "clipped": k / 10, "gradient_norm": 1.0 / (k + 1)} for k in range(5)]
    text = page(dataclasses.replace(report, context={**report.context, "clip_history": records}))
    (figure,) = figures(text)["What clipping did in training"]
    assert [trace["y"] for trace in figure["data"]] == [[1.0 / (k + 1) for k in range(5)], [k / 10 for k in range(5)]]


def test_a_table_that_a_task_hands_in_is_drawn_by_shares_of_its_rows(report):
    names = ["a", "<b>", "a name that is longer than any axis"]
    counts = [[81, 16, 3], [0, 4, 0], [0, 0, 0]]
    tables = [flow.ContingencyTable("Mistakes", "Read so.", ("right", "given"), names, names, counts, x) for x in "uv"]
    text = page(told := dataclasses.replace(report, tables=tuple(tables)))
    first, second = figures(text)["Mistakes"]
    (trace,) = first["data"]
    assert trace["z"] == [[0.9, 0.4, 0.173], [0, 1, 0], [None] * 3]
    assert trace["text"] == [["81.0%", "16.0%", "3.0%"], ["", "100%", ""], [""] * 3]
    assert trace["customdata"][0][1] == "right: a<br>given: &lt;b&gt;<br>16 of 100 (16.0%)"
    assert first["layout"]["yaxis"]["ticktext"] == ["a", "&lt;b&gt;", "a name that is lo…"]
    assert second["data"] == first["data"]
    assert text.count("Read so.") == 1
    assert json.loads(json.dumps(told.to_dict()))["tables"][1]["counts"] == counts
    assert set(figures(page(report))) == set(figures(text)) - {"Mistakes"}


def test_of_many_names_the_commonest_are_drawn_with_shares_of_whole_rows(report):
    names = [str(k) for k in range(70)]
    counts = [[k if row == k else 1 for k in range(70)] for row in range(70)]
    table = flow.ContingencyTable("Mistakes", "", ("right", "given"), names, names, counts)
    (figure,) = figures(text := page(dataclasses.replace(report, tables=(table,))))["Mistakes"]
    assert figure["layout"]["xaxis"]["ticktext"] == figure["layout"]["yaxis"]["ticktext"] == names[10:]
    assert figure["data"][0]["z"][-1][-1] == pytest.approx((69 / 138) ** 0.5, abs=1e-3)
    assert "text" not in figure["data"][0]
    assert "The 60 commonest of 70 names" in text
