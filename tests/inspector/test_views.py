"""What the inspector says, judged by autograd and by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.inspector.conftest import TEXT
from torch import nn
from torch.nn import functional as F

import gateflow
from gateflow.data.pairs import Pair
from gateflow.errors import ConfigError, GateflowError
from gateflow.inspector.module import InspectedModule
from gateflow.inspector.session import Session, Subject
from gateflow.inspector.views.agreement import POINTS

WORDS = ["a", "b", "c", "d", "e", "f"]


class Characters:
    """A tokenizer: letters."""

    def encode(self, text):
        return [WORDS.index(letter) for letter in text]

    def decode(self, ids):
        return "".join(WORDS[i] for i in ids)


class Reader(nn.Module):
    """A model of somebody's own; `flat` reads one label out of all steps."""

    def __init__(self, layer, batch_first, width, flat=False):
        super().__init__()
        self.embedding, self.layer, self.head = nn.Embedding(len(WORDS), 4), layer, nn.Linear(width, len(WORDS))
        self.batch_first, self.flat = batch_first, flat

    def forward(self, numbers):
        hidden = self.layer(self.embedding(numbers))[0]
        return self.head(hidden.amax(1 if self.batch_first else 0) if self.flat else hidden)


def session_of(model, **options):
    return Session([Subject("mine", "", InspectedModule(model.double(), Characters(), examples=["abcab"], **options))])


LAYERS = list(itertools.product((nn.LSTM, nn.GRU, gateflow.LSTM, gateflow.GRU), (False, True)))


@pytest.mark.parametrize(("kind", "both"), LAYERS)
@pytest.mark.parametrize("flat", [False, True])
def test_attribution_is_autograds(kind, both, flat):
    model = Reader(kind(4, 5, 2, bidirectional=both, batch_first=both), both, 10 if both else 5, flat)
    session = session_of(model, labels=WORDS)
    ids = torch.tensor(Characters().encode("abcadef"))
    place = 0 if flat else 3
    x = model.embedding(ids).detach().requires_grad_()
    hidden = model.layer(x[None] if both else x[:, None])[0]
    hidden = hidden[0] if both else hidden[:, 0]
    scores = model.head(hidden.amax(0, keepdim=True) if flat else hidden)[place]
    for those, value in (("f", scores[1] - scores[5]), (None, F.log_softmax(scores, -1)[1])):
        question = {"text": "abcadef", "place": place, "these": "b", "against": "all"}
        found = session.ask("attribution", question | ({} if those is None else {"those": those}))
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        assert found.value == pytest.approx(float(value.detach()), abs=1e-9)
        assert torch.tensor(found.steps).double() == pytest.approx((gradient * x).sum(-1).detach(), abs=1e-9, rel=1e-6)
    # Words behind the place count where there is a direction that has read them.
    assert flat or both == any(abs(step) > 0 for step in found.steps[4:])


def test_attribution_of_a_run_is_autograds(session):
    inspected = session.subjects[1].inspected
    model, steps = inspected.model, inspected.read(TEXT)
    x = model.embedding(steps.data)[:, None].detach().requires_grad_()
    scores = model.scores(model(steps.data[:, None]) * 0 + model.layer(x)[0])[4, 0]
    were, was = (inspected.number(word) for word in ("were", "was"))
    (gradient,) = torch.autograd.grad(scores[were] - scores[was], x)
    found = session.ask("attribution", {"run": 1, "text": TEXT, "place": 5, "these": "were", "those": "was"})
    assert torch.tensor(found.steps) == pytest.approx((gradient * x).sum(-1)[:, 0].detach(), abs=1e-6)
    assert not any(found.steps[5:])


def test_what_came_and_what_is_likeliest(session):
    found = session.ask("read", {"text": TEXT})
    inspected = session.subjects[0].inspected
    steps = inspected.read(TEXT)
    log_p = inspected.model.scores(inspected.model(steps.data[:, None])[:, 0]).log_softmax(-1)
    rows = found.rows["next"]
    assert rows[0] is None
    assert len(rows) == len(found.tokens) + 1
    assert rows[5].surprise == pytest.approx(-float(log_p[4, steps.data[5]]) / math.log(2), rel=1e-5)
    assert rows[-1].came is None
    assert rows[-1].best[0].p == pytest.approx(float(log_p[-1].max().exp()), rel=1e-5)


def test_memory_is_the_states_and_gates_of_the_layer(session):
    inspected = session.subjects[0].inspected
    x, cell = inspected.vectors(inspected.read(TEXT)), inspected.model.layer.cells[0]
    h = c = torch.zeros(1, 8)
    cs, forgets = [], []
    for step in x:
        forgets.append(torch.sigmoid(cell.forget(h, step)))
        h, c = cell.step(step, h, c)
        cs.append(c)
    of = {"text": TEXT, "layer": "layer.l0", "order": "number"}
    assert pytest.approx(torch.cat(cs), abs=1e-4) == torch.tensor(session.ask("memory", {**of, "part": "c"}).values).T
    found = session.ask("memory", {**of, "part": "forget"})
    assert pytest.approx(torch.cat(forgets), abs=1e-4) == torch.tensor(found.values).T
    lives = math.log(0.5) / torch.cat(forgets).log().mean(0)
    assert torch.tensor(found.half_lives) == pytest.approx(lives, rel=1e-3)
    sorted_by_life = session.ask("memory", {**of, "part": "c", "order": "half-life"}).half_lives
    assert sorted_by_life == sorted(sorted_by_life, reverse=True)
    bands = {gate.gate: gate for gate in session.ask("gates", {"text": TEXT, "layer": "layer.l0"}).gates}
    assert torch.tensor(bands["forget"].mean) == pytest.approx(torch.cat(forgets).mean(1), abs=1e-6)


def test_what_a_step_names_besides_is_a_part():
    session = session_of(
        Reader(gateflow.Recurrent("multiplicative_lstm", 4, 5, bidirectional=True), False, 10), labels=WORDS
    )
    inspected = session.subjects[0].inspected
    x, cell = inspected.vectors(inspected.read("abca")), inspected.model.layer.cells[1]
    h = c = torch.zeros(1, 5, dtype=torch.float64)
    ms = []
    for step in x.flip(0):
        ms.insert(0, cell.factor(step) * cell.mix(h))
        h, c = cell.step(step, h, c)
    found = session.ask("memory", {"text": "abca", "layer": "layer.l0_reverse", "part": "m", "order": "number"})
    assert torch.tensor(found.values).T.double() == pytest.approx(torch.cat(ms), abs=1e-4)


def test_pairs_are_compared_at_the_first_word_that_differs(session):
    pairs = [Pair("all", "the cats were full .", "the cats was full ."), Pair("all", "a dodo is", "a dodo are")]
    (contrast,) = Session(session.subjects, pairs[:1]).about().contrasts
    assert contrast.model_dump() == {"text": "the cats", "right": "were", "wrong": "was"}
    with pytest.raises(ConfigError, match="no pair differs in a word that can be compared"):
        Session(session.subjects, [Pair("all", "the dodo", "the dodos")])


def test_models_of_other_kinds_are_not_shown_side_by_side(session):
    other = session_of(Reader(nn.GRU(4, 5), False, 5), labels=WORDS).subjects
    with pytest.raises(ConfigError, match="cannot be shown side by side"):
        Session([*session.subjects[:1], *other])


def test_units_are_sorted_by_what_they_have_to_do_with_a_span(session):
    of = {"text": TEXT, "layer": "layer.l0", "part": "c", "order": "correlation", "span": {"begin": 2, "end": 4}}
    found = session.ask("memory", of)
    inside = torch.zeros(len(found.tokens))
    inside[2:4] = 1
    for row, r in zip(found.values, found.correlations, strict=True):
        assert r == pytest.approx(float(torch.corrcoef(torch.stack([torch.tensor(row), inside]))[0, 1]), abs=2e-3)
    sizes = [abs(r) for r in found.correlations]
    assert sizes == sorted(sizes, reverse=True)


HELD = [("c", (0, 3), -2.0), ("h", (), 0.5), ("forget", (), 1.0), ("input", (1,), 0.0), ("state", (2,), 1.0)]


@pytest.mark.parametrize(("part", "units", "value"), HELD)
def test_an_intervention_is_the_step_with_that_value(session, part, units, value):
    """By hand: the equations of an LSTM, with one value set."""
    inspected, held = session.subjects[0].inspected, list(units) or slice(None)
    cell, h, c = inspected.model.layer.cells[0], torch.zeros(1, 8), torch.zeros(1, 8)
    for t, x in enumerate(inspected.vectors(inspected.read(TEXT))[:6]):
        parts = {name: torch.sigmoid(getattr(cell, name)(h, x)) for name in ("input", "forget", "output")}
        parts["content"] = torch.tanh(cell.content(h, x))

        def hold(name, now, t=t):
            if name == part and 1 <= t < 4:
                now = now.clone()
                now[:, held] = value
            return now

        parts = {name: hold(name, now) for name, now in parts.items()}
        c = parts["forget"] * c + parts["input"] * parts["content"]
        h = hold("h", parts["output"] * hold("state", torch.tanh(c)))
        c = hold("c", c)
    wanted = inspected.model.scores(h)[0].softmax(-1)
    hold = {"layer": "layer.l0", "part": part, "units": list(units), "value": value, "begin": 1, "end": 4}
    question = {"text": TEXT, "place": 6, "holds": [hold], "watched": ["were", "was"]}
    found = session.ask("intervention", question)
    for effect in found.watched:
        assert effect.after == pytest.approx(float(wanted[inspected.number(effect.name)]), rel=1e-4)
        assert effect.before != pytest.approx(effect.after, rel=1e-6)
    nothing = session.ask("intervention", question | {"holds": []})
    assert [effect.before for effect in nothing.watched] == pytest.approx([e.after for e in nothing.watched], rel=1e-5)


def test_a_hold_in_torchs_reverse_direction_acts_on_the_words_before():
    session = session_of(Reader(nn.LSTM(4, 5, bidirectional=True), False, 10), labels=WORDS)
    hold = {"layer": "layer.l0_reverse", "part": "c", "value": 3.0, "begin": 4, "end": 5}
    question = {"text": "abcadef", "holds": [hold], "watched": ["a"]}
    changed = [session.ask("intervention", question | {"place": k}).watched[0] for k in range(7)]
    assert [abs(effect.before - effect.after) > 1e-9 for effect in changed] == [True] * 4 + [False] * 3


def test_a_layer_that_is_called_twice_cannot_be_held():
    """In two pieces, say: which of them a step belongs to is not known while it runs."""

    class Pieces(Reader):
        def forward(self, numbers):
            x = self.embedding(numbers)
            first, state = self.layer(x[:2])
            return self.head(torch.cat([first, self.layer(x[2:], state)[0]]))

    session = session_of(Pieces(nn.GRU(4, 5), False, 5), labels=WORDS)
    assert len(session.ask("gates", {"text": "abcade", "layer": "layer.l0"}).tokens) == 6
    hold = {"layer": "layer.l0", "part": "h", "value": 3.0, "begin": 4, "end": 5}
    with pytest.raises(ConfigError, match=r"calls layer.l0 2 times in one run"):
        session.ask("intervention", {"text": "abcade", "place": 5, "holds": [hold]})


def test_units_by_themselves_are_interventions(session):
    hold = {"layer": "layer.l0", "part": "c", "value": 0.0, "begin": 1, "end": 3}
    question = {"text": TEXT, "place": 5, "these": "were", "those": "was"}
    ticks = []
    found = session.ask("units", question | {"hold": hold}, lambda done, total: ticks.append((done, total)))
    one = {"holds": [hold | {"units": [5]}], "watched": ["were", "was"], "text": TEXT, "place": 5}
    were, was = session.ask("intervention", one).watched
    assert found.after[5] == pytest.approx(math.log(were.after / was.after), abs=1e-5)
    assert found.before == pytest.approx(math.log(were.before / was.before), abs=1e-5)
    assert ticks == [(k, 8) for k in range(8)]


def test_the_verb_follows_number_and_distance(session):
    question = {"seed": 3, "distance": 12, "plural": True}
    found = session.ask("agreement", question)
    plural, singular = found.forms
    assert (plural.plural, singular.plural, plural.right, plural.wrong) == (True, False, singular.wrong, singular.right)
    words = [form.text.split() for form in found.forms]
    assert [k for k, (a, b) in enumerate(zip(*words, strict=True)) if a != b] == [found.subject]
    assert found.verb - found.subject == 12
    assert found.verb == len(words[0])
    assert plural.share == pytest.approx(plural.p_right / (plural.p_right + plural.p_wrong), rel=1e-5)
    read = session.ask("attribution", {"text": plural.text, "place": found.verb, "these": plural.right})
    assert read.these == plural.right
    assert session.ask("distances", {}).distances == list(POINTS)


def test_spans_that_look_alike_are_found(session):
    """In the very sentence that is searched with, the very span is the best."""
    example = {"example": 4, "layer": "layer.l0", "part": "input"}
    values = torch.tensor(session.ask("memory", example | {"order": "number"}).values)
    threshold = float(values[:, 3:5].amin(1).max()) - 1e-3
    found = session.ask("alike", example | {"threshold": threshold, "span": {"begin": 3, "end": 5}})
    assert found.units == (values[:, 3:5] > threshold).all(1).nonzero()[:, 0].tolist()
    assert any(each.example == 4 and each.match == 1.0 for each in found.found)
    with pytest.raises(ConfigError, match="no unit is above 1000"):
        session.ask("alike", example | {"threshold": 1000.0, "span": {"begin": 3, "end": 5}})


def test_the_course_is_told_from_a_step_on(session):
    whole = session.ask("course", {})
    steps = [record["step"] for record in whole.training + whole.validation]
    assert steps
    later = session.ask("course", {"after": max(steps)})
    assert not later.training + later.validation


def test_reach_is_flows(session):
    found = session.ask("reach", {"text": TEXT})
    (layer,) = found.layers
    assert layer.targets == list(range(7))
    assert [row[t] for t, row in enumerate(layer.shares)] == pytest.approx([1.0] * 7)
    assert all(x is None for t, row in enumerate(layer.shares) for x in row[t + 1 :])


WRONG = [
    ("pictures", {}, "no view 'pictures'"),
    ("read", {"text": "a", "example": 1}, "either a text or the number"),
    ("read", {"text": "xylophone"}, "no word 'xylophone'"),
    ("read", {"text": "the " * 500}, "500 words, and at most 400"),
    ("read", {"text": "x" * 5000}, "^text: 5,000 characters are given; it may have at most 4,000; shorten it.$"),
    ("read", {"text": "the", "run": 5}, "^run: 5 is given; it must be at most 1.$"),
    ("read", {"text": "the", "path": "/etc/passwd"}, "^path: nothing of that name is asked for.$"),
    ("read", {"example": 99}, "no example 99"),
    ("gates", {"text": "the", "layer": "../x"}, "no layer '../x'; there are layer.l0"),
    ("memory", {"text": "the", "layer": "layer.l0", "part": "x"}, "has no 'x'; it has h, c, input"),
    ("attribution", {"text": "the", "place": 0}, "nothing is predicted at place 0"),
    ("attribution", {"text": "the", "place": 1, "these": "dodo"}, "does not know 'dodo'"),
    ("attribution", {"text": "the", "place": True}, "^place: true is given; it must be a whole number.$"),
    ("attribution", {"text": "the", "place": 1, "these": -1}, "^these: -1 is given; it must be at least 0.$"),
    ("attribution", {"text": "the"}, "^place: it is missing.$"),
    ("reach", [], "the question"),
]


@pytest.mark.parametrize(("view", "question", "message"), WRONG, ids=[f"{v}{i}" for i, (v, _, _) in enumerate(WRONG)])
def test_wrong_questions_are_refused(session, view, question, message):
    with pytest.raises(GateflowError, match=message):
        session.ask(view, question)


WRONG_HOLDS = [
    ({"part": "forget", "value": 1.5}, "from 0 to 1"),
    ({"units": [8]}, "no unit 8"),
    ({"value": 2000}, "^value: 2000 is given; it must be at most 1,000.$"),
    ({"end": 9}, "step 8"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_HOLDS)
def test_holds_that_cannot_be_are_refused(session, wrong, message):
    hold = {"layer": "layer.l0", "part": "c", "value": 0.0, "begin": 0, "end": 1} | wrong
    with pytest.raises(ConfigError, match=message):
        session.ask("intervention", {"text": TEXT, "place": 5, "holds": [hold]})


def test_a_model_without_steps_is_refused():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 6)

        def forward(self, numbers):
            return self.head(self.embedding(numbers))

    with pytest.raises(ConfigError, match="no recurrent layer over the tokens"):
        InspectedModule(Bag(), Characters())
