"""``evaluate`` and ``generate``."""

import io
import json
import math
import sys

import pytest
import torch

from gateflow.data.tokenizer import encode_prompt
from gateflow.tasks.language_model import model as language_model
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.run import LanguageModelRun


def test_perplexity_is_that_of_the_model_applied_by_hand(gateflow, trained, tmp_path):
    text = tmp_path / "test.txt"
    text.write_text("the cat sat\nthe dogs sit on mats today\n")
    found = json.loads(gateflow("evaluate", trained, "--data", text, "--batch-size", 1, "--json").out)
    run = LanguageModelRun(trained)
    tokenizer, model = load_tokenizer(run), load_model(run)
    ids = torch.tensor([i for line in text.read_text().splitlines() for i in tokenizer.encode(line).ids])
    with torch.inference_mode():
        hidden, _ = model.hidden(ids[:-1, None])
        loss = torch.nn.functional.cross_entropy(model.scores(hidden[:, 0]), ids[1:]).item()
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert found["word_perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert (found["tokens"], found["words"]) == (10, 10)


def test_a_small_text_is_read_as_one_and_how_many_stretches_there_were_is_said(gateflow, trained, corpus, monkeypatch):
    words = ("evaluate", trained, "--data", corpus)
    plain, one = (json.loads(gateflow(*words, *more, "--json").out) for more in ((), ("--batch-size", 1)))
    assert plain == one
    assert plain["stretches"] == 1
    assert "stretches" not in gateflow(*words).out
    monkeypatch.setattr(language_model, "SHORTEST", 50)
    assert json.loads(gateflow(*words, "--json").out)["stretches"] == 5
    assert "read in 5 stretches, each from an empty state; --batch-size 1 reads it as one" in gateflow(*words).out


def test_perplexity_per_word_counts_words_whatever_a_token_is(gateflow, corpus, tmp_path):
    gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", "--tokenizer=char", "--max-updates=3")
    found = json.loads(gateflow("evaluate", tmp_path / "run", "--data", corpus, "--json").out)
    text = corpus.read_text()
    assert found["tokens"] == len(text) - 1
    assert found["words"] == len(text.split()) + text.count("\n") - 1
    assert found["word_perplexity"] == pytest.approx(math.exp(found["loss"] * found["tokens"] / found["words"]))


def test_evaluate_prints_both(gateflow, trained, corpus):
    lines = gateflow("evaluate", trained, "--data", corpus).out.splitlines()
    assert lines[0].startswith("perplexity per token  ")
    assert lines[0].endswith("(279 tokens)")
    assert lines[1].startswith("perplexity per word   ")


def test_a_text_goes_on_and_the_seed_decides(gateflow, trained):
    words = ("generate", trained, "--prompt", "the cat", "--length", 12)
    first, again, other = (gateflow(*words, "--seed", seed).out for seed in (1, 1, 2))
    assert first == again != other
    assert first.startswith("the cat")
    assert first[len("the cat")].isspace()
    tokens = encode_prompt(load_tokenizer(LanguageModelRun(trained)), first.removesuffix("\n"))
    assert len(tokens) == 1 + 2 + 12


def test_the_prompt_may_come_from_stdin(gateflow, trained, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("the dogs\n"))
    piped = gateflow("generate", trained, "--length", 5, "--temperature", 0)
    assert piped.out == gateflow("generate", trained, "--prompt", "the dogs", "--length", 5, "--temperature", 0).out


def test_json_holds_the_text_and_the_options(gateflow, trained):
    result = json.loads(gateflow("generate", trained, "--prompt", "", "--length", 4, "--top-k", 3, "--json").out)
    assert (result["prompt"], result["length"], result["top_k"]) == ("", 4, 3)
    assert result["text"]


def test_options_out_of_range_are_wrong_use(gateflow, trained):
    for words in (("--length", 0), ("--temperature", -1), ("--top-k", 0), ("--top-p", 0), ("--top-p", 2)):
        result = gateflow("generate", trained, "--prompt", "the", *words)
        assert (result.code, result.out) == (2, "")


def test_pairs_of_which_none_can_be_judged_are_no_result(gateflow, trained, tmp_path):
    result = gateflow("agreement", trained)
    assert (result.code, result.out) == (1, "")
    assert "none of the 1,000 pairs of the built-in grammar could be judged" in result.err
    assert "Give pairs in its words with --data" in result.err
    (tmp_path / "pairs.tsv").write_text("grammatical\tungrammatical\n")
    result = gateflow("agreement", trained, "--data", tmp_path / "pairs.tsv")
    assert (result.code, result.out) == (1, "")
    assert "pairs.tsv holds no pairs" in result.err
    (tmp_path / "pairs.tsv").write_text("grammatical\tungrammatical\nthe cat sat\tthe sat cat\nthe fox\tfox the\n")
    (row, whole) = json.loads(gateflow("agreement", trained, "--data", tmp_path / "pairs.tsv", "--json").out)
    assert (row["judged"], row["unknown"]) == (whole["judged"], whole["unknown"]) == (1, 1)
