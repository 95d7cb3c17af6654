"""The report as a page: what it says is what was measured, and it needs nothing but itself."""

import base64
import dataclasses
import errno
import gzip
import hashlib
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
from gateflow.flow import Activation, Dependency, LayerGates
from gateflow.flow.report import page, write
from gateflow.flow.report.coloured_text import coloured_text
from gateflow.flow.report.openness import half_lives
from gateflow.flow.report.plotly import plotly_bundle

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
    body, drawn = text[text.index("</section>") : text.index('<script type="application/json"')], {}
    for section in re.findall(r"<section.*?</section>", body, re.S):
        title = re.search(r"<h2.*?>(.*?)</h2>", section)[1]
        drawn[title] = [found[int(k)] for k in re.findall(r'id="figure-(\d+)"', section)]
    return drawn


def download(text):
    return re.search(r'href="(data:application/gzip;base64,[^"]*)"', text)[1]


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
    pair = Dependency(2, 17, ("subject", "verb"), token=18)
    return diagnosed(needed_lag=15, window=10, tokens=WORDS * 2, dependency=pair)


@pytest.fixture(scope="module")
def text(report):
    return page(report)


def test_every_figure_is_one_that_plotly_knows(text):
    for drawn in figures(text).values():
        for figure in drawn:
            plain = json.loads(re.sub(r"var\(--[\w-]+\)", "#123456", json.dumps(figure)))
            go.Figure(plain["data"], plain["layout"])


def test_nothing_is_loaded_from_anywhere(text):
    addresses = Parsed(text[: text.index('<script type="application/json"')]).addresses
    assert [address for address in addresses if not address.startswith("#")] == [download(text)]
    assert "default-src 'none'" in text
    assert "@import" not in text.split("</style>")[0]


def test_findings_come_first_with_evidence_remedy_code_and_source(report, text):
    said = " ".join(" ".join(Parsed(text).words).split())
    for finding in report.findings:
        assert finding.says in said
        assert finding.remedy in said
        assert all(" ".join(line.split()) in said for line in finding.lines)
        assert finding.source in said
        assert all(name in said for name in finding.evidence)
    assert said.index(report.findings[0].says) < said.rindex("How far the gradient reaches")


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


def test_a_remedy_of_two_findings_is_given_once(report, text):
    vanishing, half_life = (next(f for f in report.findings if f.name == n) for n in ("vanishing", "short-half-life"))
    assert vanishing.lines == half_life.lines
    assert text.count(f"<pre><code>{vanishing.code}</code>") == 1
    assert "That of “vanishing”, above." in text
    assert "(as for vanishing)" in str(report)


def test_the_data_can_be_had_from_the_page(report, text):
    packed = base64.b64decode(download(text).split(",")[1])
    found = json.loads(gzip.decompress(packed))
    assert found["reach"]["layers"][0]["decay"] == pytest.approx(report.reach.layers["l0"].decay.values, rel=1e-5)
    assert found["context"]["dependency"] == {"cause": 2, "effect": 17, "names": ["subject", "verb"], "token": 18}
    assert page(report) == text


def test_the_contents_lead_to_every_heading(text):
    links = re.findall(r'<a href="#(.*?)">(.*?)</a>', text)
    assert links == re.findall(r'<h2 id="(.*?)">(.*?)</h2>', text)
    assert len(links) > 8


def test_the_bundle_is_the_one_that_was_looked_at():
    found = hashlib.sha256(plotly_bundle().encode()).hexdigest()
    assert found == "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"


def test_no_share_at_the_floor_is_a_number():
    report = diagnosed(steps=60, needed_lag=50)
    assert report.reach.layers["l0"].left_at(50) < 1e-6
    said = " ".join(" ".join(Parsed(text := page(report)).words).split())
    assert said.count("below 1e-7") >= 4
    assert not re.search(r"1\.19e-0?7|1\.2e-0?7|1e-07", said)
    assert "below 1e-7" in str(report)
    assert "below 1e-7 after" not in text  # shares under the pointer are texts of the data


def test_a_gradient_that_has_grown_is_not_said_to_be_left():
    model = nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        model.weight_hh_l0.copy_(1.2 * torch.eye(4))
        model.bias_hh_l0.fill_(1.0)
    report = diagnosed(model, needed_lag=10)
    said = " ".join(Parsed(page(report)).words)
    assert "the gradient has grown to" in said
    assert not re.search(r"\d{3} ?% (of the gradient is )?left", said)


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
    shares = (layer.norms / layer.norms.diagonal().T[:, None]).clamp(min=layer.decay.floor).log10()[..., 0]
    (figure,) = figures(text)["How far the gradient reaches"]
    drawn = torch.tensor([[float("nan") if z is None else z for z in row] for row in figure["data"][0]["z"]])
    torch.testing.assert_close(drawn, shares, atol=2e-2, rtol=0, equal_nan=True)
    assert [trace["name"] for trace in figure["data"]] == ["full state", "h", "c"]
    assert figure["labels"] == WORDS * 2
    assert figure["labelled"] == ["xaxis", "yaxis"]
    assert [shape["y1"] for shape in figure["layout"]["shapes"]] == [17, 17]
    assert [label["text"] for label in figure["layout"]["annotations"]] == ["subject “of”", "verb “rusty”"]
    (both,) = figures(page(dataclasses.replace(report, context={**report.context, "tokens": None})))[
        "How far the gradient reaches"
    ]
    mean = (layer.norms / layer.norms.diagonal().T[:, None]).clamp(min=layer.decay.floor).log10().nanmean(-1)
    assert both["data"][0]["z"][15][3] == pytest.approx(float(mean[15, 3]), abs=2e-2)
    assert "shapes" not in both["layout"]


def test_two_words_of_the_text_are_marked(text):
    marked = re.findall(r'<span class="part".*?title="(.*?): keeps .*?>(.*?)<small>', text)
    assert marked == [("subject", "of"), ("verb", "rusty")]


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
    text = page(report)
    assert text.count('title="keeps') == 4
    (gates,), (reach,) = (figures(text)[name] for name in ("What the gates do", "How far the gradient reaches"))
    assert {len(line["y"]) for line in gates["data"]} == {4}
    assert all(z is None for row in reach["data"][0]["z"] for z in row[4:])


def test_all_layers_have_one_scale_of_colours_and_it_is_stated():
    layers = {
        name: LayerGates(name, {"forget": Activation("sigmoid", torch.full((2, 1, 3), value))}, None, ("forget", 1))
        for name, value in {"l0": 0.12, "l1": 0.88}.items()
    }
    found = coloured_text(layers, {name: ["a", "b"] for name in layers}, {1: "verb"})
    assert (found.pale, found.dark) == (0.1, 0.9)
    assert [round(words[0].shade, 3) for words in found.layers.values()] == [0.025, 0.975]
    assert [word.part for word in found.layers["l0"]] == ["", "verb"]


def test_a_row_without_steps_has_no_words_at_all():
    layer = LayerGates("l0", {"forget": Activation("sigmoid", torch.full((5, 2, 3), torch.nan))}, None, ("forget", 1))
    assert coloured_text({"l0": layer}, {"l0": WORDS}, {}).layers == {}


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
