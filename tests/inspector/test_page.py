"""The page in a real browser: every view, without errors on its console, by keyboard, narrow, dark, and accessible."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip("playwright")
import torch
from playwright.sync_api import expect, sync_playwright
from torch import nn

import gateflow
from gateflow.inspector.module import InspectedModule
from gateflow.inspector.notebook import answer
from gateflow.inspector.page import resource
from gateflow.inspector.session import Session, Subject
from gateflow.training.metrics import MetricsLog

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")
VIEWS = ["Sentence", "Agreement", "Gates", "Reaches back", "Memory", "Intervene", "Reach", "Training"]
# Other tests share the machine.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def server(runs):
    command = [sys.executable, "-m", "gateflow", "inspect", *map(str, runs), "--no-browser"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **streams) as found:
        yield found
        found.terminate()


@pytest.fixture(scope="module")
def link(server):
    """As the command prints it."""
    return server.stdout.readline().strip()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Within a container there is no sandbox to be had.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(context, address):
    page = context.new_page()
    page.problems = []
    page.on("console", lambda message: message.type in ("error", "warning") and page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(address)
    expect(page.locator("[data-ready]")).to_be_visible()
    return page


@pytest.fixture(scope="module")
def shared(browser, link):
    """One page for all: a program of a megabyte is read once."""
    return opened(browser.new_context(viewport={"width": 1280, "height": 900}), link)


@pytest.fixture
def page(shared):
    shared.set_viewport_size({"width": 1280, "height": 900})
    type_in(shared, "the cats near the boat which ate the cake")
    yield shared
    assert not shared.problems


def type_in(page, text):
    page.locator(".bar input").fill(text)
    expect(tokens(page)).to_have_count(len(text.split()) + 1)


def tokens(page):
    """Of the first run, the place behind them among them."""
    return page.locator(".tokens").first.locator("button")


def test_every_view_is_there_and_says_no_error(shared):
    assert shared.locator("h2").all_inner_texts() == VIEWS
    expect(shared.locator("section", has_text="Training").locator(".main-svg").first).to_be_visible()
    assert not [text for text in shared.locator(".failed").all_inner_texts() if text]
    assert shared.locator(".plot .main-svg").count() >= 10
    assert "token=" not in shared.url
    # It begins where there is something to see: at the verb of a sentence of the grammar.
    expect(shared.locator(".token.next[aria-pressed='true']").first).to_be_visible()
    assert not shared.problems


def test_what_cannot_be_read_is_said_in_place(page):
    page.locator(".bar input").fill("the xylophone")
    expect(page.locator(".failed", has_text="the grammar has no word 'xylophone'").first).to_be_visible()
    nothing_else(page)
    page.locator(".bar input").fill("the " * 2000)
    expect(page.locator(".failed", has_text="8000 characters, and at most 4000 are shown").first).to_be_visible()
    nothing_else(page)
    type_in(page, "the cats were")
    expect(page.locator(".failed", has_text="xylophone")).to_have_count(0)
    # A browser notes that questions were refused.
    assert all("400" in problem for problem in page.problems)
    page.problems.clear()


def nothing_else(page):
    """One message, and no figures of another text."""
    assert len([text for text in page.locator(".failed").all_inner_texts() if text]) == 1
    for name in ("Reaches back", "Memory", "Gates", "Intervene"):
        section = page.locator("section", has=page.get_by_role("heading", name=name, exact=True))
        shown = section.locator("td, .main-svg, .answer")
        assert not [each for each in shown.all() if each.is_visible()], name
    expect(tokens(page)).to_have_count(0)


UNITS = [("3, 5-7", ""), ("a", "“a” is no unit"), ("1.5", "“1.5” is no unit"), ("3, x7", "“x7” is no unit")]
UNITS += [
    ("-1", "“-1” is no unit"),
    ("5-3", "“5-3” is no unit"),
    ("2 - 8", "there is no unit 8: units are 0 to 7"),
    ("", ""),
]


def test_what_is_no_unit_is_said(page):
    """Instead of holding others, or all."""
    section = page.locator("section", has=page.get_by_role("heading", name="Intervene", exact=True))
    units = section.get_by_label("units")
    for typed, said in UNITS:
        units.fill(typed)
        units.press("Enter")
        expect(section.locator(".failed")).to_have_text(re.compile(f"^{re.escape(said)}.+" if said else "^$"))
        assert section.locator("table").first.is_visible() == (not said)


def test_nothing_is_cut_off(page):
    """The sentence, its colours and what they mean are seen whole, or the page scrolls, and not a box within it."""
    for words in (40, 300):
        type_in(page, "the cats " * (words // 2))
        bar = page.locator(".bar")
        assert bar.evaluate("bar => bar.scrollHeight <= bar.clientHeight")
        expect(bar).to_have_css("position", "sticky" if words == 40 else "static")
        expect(page.locator(".scale")).to_contain_text("for")


def test_by_keyboard(page):
    """A token is chosen, a span extended, and all plots point at the same token."""
    tokens(page).nth(3).focus()
    page.keyboard.press("ArrowRight")
    expect(tokens(page).nth(4)).to_be_focused()
    expect(page.locator(".cursor:visible")).to_have_count(4)
    page.keyboard.press("Enter")
    expect(tokens(page).nth(4)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".tokens").first.locator(".in-span")).to_have_count(2)
    expect(tokens(page).nth(5)).to_be_focused()
    # Controls that are made anew keep who is on them; the first place has nothing before it, which is no error.
    held = page.get_by_label("hold", exact=True)
    held.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("at", exact=True)).to_have_value("1")
    expect(held).to_be_focused()
    tokens(page).nth(0).focus()
    page.keyboard.press("Enter")
    expect(page.locator("text=Choose a later place")).to_be_visible()


def test_work_that_takes_long(page):
    page.get_by_role("button", name="measure").click()
    expect(page.locator("text=1 % is left")).to_have_count(2)
    page.get_by_role("button", name="try each unit by itself").click()
    expect(page.locator("text=when one unit is held")).to_have_count(2)
    page.get_by_label("on above", exact=True).fill("-50")
    page.get_by_label("on above", exact=True).press("Enter")
    page.get_by_role("button", name="spans that look alike").click()
    expect(page.locator(".found li").first).to_be_visible()


def test_number_and_distance(page):
    verbs = page.get_by_role("region", name="verbs")
    page.get_by_label("words from subject to verb").fill("30")
    page.get_by_label("subject", exact=True).select_option("plural")
    expect(verbs.locator("tr").nth(1)).to_contain_text("plural")
    page.get_by_role("button", name="read it above").click()
    expect(tokens(page).nth(30)).to_be_visible()


def test_a_link_restores_the_view_and_a_file_shows_it_without_a_server(page, browser, tmp_path):
    page.get_by_label("part", exact=True).select_option("forget")
    tokens(page).nth(5).click()
    expect(tokens(page).nth(5)).to_have_attribute("aria-pressed", "true")
    again = opened(page.context, page.url)
    assert again.get_by_label("part", exact=True).input_value() == "forget"
    expect(tokens(again).nth(5)).to_have_attribute("aria-pressed", "true")
    again.close()
    files = []
    for name in ("page as one file", "data as JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        files.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(files[-1])
    assert json.loads(files[1].read_text())["answers"]
    context = browser.new_context(offline=True)
    alone = opened(context, files[0].as_uri())
    assert alone.locator(".tokens").first.inner_text() == page.locator(".tokens").first.inner_text()
    assert alone.locator(".plot .main-svg").count() >= 10
    # The attribution of every place is in the file.
    tokens(alone).nth(4).click()
    expect(tokens(alone).nth(4)).to_have_attribute("aria-pressed", "true")
    assert "Score of" in alone.locator("main").inner_text()
    assert not alone.problems
    context.close()


def test_the_course_of_a_training_grows(page, runs):
    MetricsLog(runs[0] / "metrics.jsonl").append({"kind": "train", "step": 999, "loss": 0.5})
    last = "() => document.querySelector('[aria-label=\"loss by update\"] .js-plotly-plot').data[0].x.at(-1)"
    page.wait_for_timeout(1500)
    for _ in range(20):
        if page.evaluate(last) == 999:
            return
        page.wait_for_timeout(500)
    raise AssertionError("the new record has not come")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_accessible(page, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    found = axe.Axe().run(page).response["violations"]
    assert not [(each["id"], each["nodes"][0]["html"][:200]) for each in found]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_another_browser_cannot_come_by_the_same_link(browser, link):
    stranger = browser.new_context()
    page = stranger.new_page()
    page.goto(link)
    expect(page.locator("text=each one is good once")).to_be_visible()
    assert "boat" not in page.content()
    stranger.close()


def as_a_widget(browser, session):
    """As anywidget does: the module is imported by itself, and a model takes messages to the kernel and back."""
    page = opened_blank(browser)
    page.expose_function("kernel", lambda message: collected(session, message))
    page.evaluate(
        """async (source) => {
            const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
            const listeners = [];
            const send = async (message) => {
                for (const said of await window.kernel(message)) listeners.forEach((call) => call(said));
            };
            const model = { on: (_, call) => listeners.push(call), send };
            module.default.render({ model, el: document.body.appendChild(document.createElement("div")) });
        }""",
        resource("plotly.js") + "\n" + resource("inspector.js"),
    )
    expect(page.locator("[data-ready]")).to_be_visible()
    return page


def test_as_a_widget(browser, session):
    page = as_a_widget(browser, session)
    type_in(page, "the cats near the boat")
    page.get_by_role("button", name="measure").click()
    expect(page.locator("text=1 % is left")).to_have_count(2)
    assert page.locator(".plot .main-svg").count() >= 10
    assert not page.problems
    page.context.close()


class Letters:
    """A tokenizer: letters, those that a model does not know read as its first."""

    def __init__(self, known):
        self.known = known

    def encode(self, text):
        return [max(0, self.known.find(letter)) for letter in text]

    def decode(self, ids):
        return "".join(self.known[i] for i in ids)


class Reader(nn.Module):
    """It predicts letters."""

    def __init__(self, letters):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(letters, 4), gateflow.LSTM(4, 5)
        self.head = nn.Linear(5, letters)

    def forward(self, numbers):
        return self.head(self.layer(self.embedding(numbers))[0])


def read_by(*vocabularies):
    """A session of models of these letters, of which nobody has been trained."""
    torch.manual_seed(0)
    inspected = [InspectedModule(Reader(len(v)), Letters(v), examples=["abcab"]) for v in vocabularies]
    return Session([Subject(f"of {v}", "", each) for v, each in zip(vocabularies, inspected, strict=True)])


def test_scores_are_of_the_words_that_are_named(browser):
    """The second model is asked about the first one's words; one that does not know them answers about its own."""
    told = []
    for vocabularies in (("abcd", "abcdef"), ("abcd", "efgh")):
        session = read_by(*vocabularies)
        page = as_a_widget(browser, session)
        told.append(page.locator(".note", has_text="Score of").inner_text())
        first = session.ask("attribution", {"example": 0, "place": 5})
        these = {"these": first.these, "those": first.those} if vocabularies[1] == "abcdef" else {}
        second = session.ask("attribution", {"run": 1, "text": "abcab", "place": 5, **these})
        for found in (first, second):
            assert f"Score of “{found.these}” over “{found.those}”" in told[-1]
            assert f"{found.value:.3f}" in told[-1]
            assert f"for {found.these}" in page.locator(".scale").inner_text()
        assert not page.problems
        page.context.close()
    assert [text.count("Score of") for text in told] == [1, 2]


def opened_blank(browser):
    page = browser.new_context().new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto("about:blank")
    return page


def collected(session, message):
    sent = []
    answer(session, message, sent.append)
    return sent


def test_a_run_that_is_gone_and_a_server_that_ends_are_said(shared, server, runs):
    """The last test of this page: Ctrl-C ends the server at once, though a page is open, and without a traceback."""
    training = shared.locator("section", has=shared.get_by_role("heading", name="Training", exact=True))
    away = runs[1].rename(runs[1].with_name("away"))
    expect(training.locator(".failed")).to_contain_text("chrono is gone")
    away.rename(runs[1])
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    # Had it waited for the page's stream until its patience ended, it would say so here.
    assert server.stderr.read().strip().endswith("Ctrl-C ends.")
    expect(training.locator(".failed")).to_contain_text("the server has gone")
    shared.locator(".bar input").fill("the cats")
    said = shared.locator(".failed", has_text="the server has gone; start gateflow inspect again")
    expect(said).to_have_count(2)
