"""Drawing tokens: each knob on a known distribution, then whole texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gateflow.data.tokenizer import build_tokenizer, decode, encode_prompt, end_of_line
from gateflow.errors import ConfigError, NonFiniteError
from gateflow.tasks.language_model import sampling
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.sampling import draw, generate

LOGITS = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()


def shares(logits: Tensor = LOGITS, draws: int = 4000, **knobs) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    knobs = {"temperature": 1.0, "top_k": None, "top_p": None, **knobs}
    drawn = torch.tensor([draw(logits, generator=generator, **knobs) for _ in range(draws)])
    return (drawn.bincount(minlength=len(logits)) / draws).tolist()


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, [0.1, 0.5, 0.15, 0.25]),
        ({"temperature": 0.5}, [0.01 / 0.345, 0.25 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345]),
        ({"top_k": 2}, [0, 2 / 3, 0, 1 / 3]),
        ({"top_k": 9}, [0.1, 0.5, 0.15, 0.25]),
        ({"top_p": 0.7}, [0, 2 / 3, 0, 1 / 3]),
        ({"top_p": 0.76}, [0, 5 / 9, 1.5 / 9, 2.5 / 9]),
        ({"top_p": 1.0}, [0.1, 0.5, 0.15, 0.25]),
        ({"top_k": 3, "top_p": 0.6}, [0, 2 / 3, 0, 1 / 3]),
    ],
)
def test_each_knob_on_a_known_distribution(knobs, expected):
    found = shares(**knobs)
    assert found == pytest.approx(expected, abs=0.025)
    assert [share == 0 for share in found] == [share == 0 for share in expected]


@pytest.mark.parametrize("knobs", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-4}])
def test_what_always_takes_the_likeliest(knobs):
    assert shares(draws=20, **knobs) == [0, 1, 0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_scores_are_refused(value):
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        shares(torch.tensor([0.0, value]), draws=1)


@pytest.fixture
def model() -> LanguageModel:
    return LanguageModel(20, embedding_size=8, hidden_size=8, dropout=0.5)


def test_the_seed_decides(model):
    once, again, other = (list(generate(model, [3], 40, seed=seed)) for seed in (5, 5, 6))
    assert len(once) == 40
    assert once == again != other
    assert list(generate(model, [3], 40)) != list(generate(model, [3], 40))


def test_the_mode_of_the_model_stays_as_it_was(model):
    stream = generate(model, [3], 3)
    next(stream)
    assert model.training
    assert not any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("prompt", [[3], [3, 1, 4, 1, 5]])
def test_greedy_text_is_what_the_whole_model_finds_likeliest(model, prompt):
    text = [*prompt, *generate(model, prompt, 6, temperature=0)]
    model.eval()
    scores = model.scores(model.hidden(torch.tensor(text)[:, None])[0])[:, 0]
    assert text[len(prompt) :] == scores.argmax(1)[len(prompt) - 1 : -1].tolist()


@pytest.mark.parametrize("kind", ["recurrent", "transformer"])
def test_a_prompt_is_read_by_windows_and_goes_on_as_if_by_tokens(kind, monkeypatch):
    torch.manual_seed(0)
    options = {"context": 5, "heads": 2} if kind == "transformer" else {}
    made = LanguageModel(20, embedding_size=8, hidden_size=8, dropout=0.5, model=kind, **options).double()
    prompt, texts, calls = torch.randint(20, (40,)).tolist(), [], []
    for window in (1, 7, 39, 512):
        monkeypatch.setattr(sampling, "WINDOW", window)
        with made.layers.streaming():
            texts.append(list(generate(made, prompt, 30, seed=3)))
    assert texts[1:] == texts[:1] * 3
    assert made.training
    plain = made.hidden
    monkeypatch.setattr(made, "hidden", lambda *given: calls.append(len(given[0])) or plain(*given))
    monkeypatch.setattr(sampling, "WINDOW", 30)
    next(generate(made, prompt, 1))
    assert calls == [30, 9]


def test_tokens_come_as_they_are_drawn(model):
    stream = generate(model, [3], 10**9)
    assert [0 <= next(stream) < 20 for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt_ids": []}, "prompt_ids is empty"),
        ({"length": -1}, "length must be 0 or more, not -1"),
        ({"temperature": -0.5}, "temperature must be 0 or more, not -0.5"),
        ({"temperature": float("nan")}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, not 1.5"),
    ],
)
def test_knobs_out_of_range_are_refused_before_the_first_token(model, wrong, message):
    with pytest.raises(ConfigError, match=message):
        generate(model, **{"prompt_ids": [1], "length": 1, **wrong})


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
@pytest.mark.parametrize("prompt", ["", "고양이", "고양이가 나비를\n강"])
def test_from_text_to_text(kind, prompt, tmp_path):
    (tmp_path / "text.txt").write_text("고양이가 나비를 쫓는다\n강아지가 잔다\n" * 3, encoding="utf-8")
    tokenizer = build_tokenizer(kind, tmp_path / "text.txt")
    ids = encode_prompt(tokenizer, prompt)
    assert ids[0] == end_of_line(tokenizer)
    assert (decode(tokenizer, ids[1:]) == prompt) or kind == "word"
    model = LanguageModel(tokenizer.get_vocab_size(), embedding_size=8, hidden_size=8)
    text = decode(tokenizer, generate(model, ids, 30, seed=0))
    assert text == decode(tokenizer, generate(model, ids, 30, seed=0))
    assert text.strip()
