"""Probabilities of sentences, one by one and in a padded batch, and the judgements made from them."""

from itertools import pairwise

import pytest
import torch

from gateflow.data.pairs import Pair
from gateflow.data.tokenizer import build_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.pairs import judge, sentence_nll


@pytest.mark.parametrize("cell", ["lstm", "full_gru"])
def test_a_sentence_has_the_probability_of_its_tokens_one_by_one(cell):
    model = LanguageModel(11, cell=cell, embedding_size=6, hidden_size=8, dropout=0.5)
    sentences = [[1, 5, 3, 7, 2], [1, 4], [1, 9, 9]]
    found = sentence_nll(model, sentences)
    assert model.training, "the mode is put back"
    model.eval()
    for nll, ids in zip(found, sentences, strict=True):
        state, wanted = None, 0.0
        for before, after in pairwise(ids):
            logits, state = model.next_logits(torch.tensor([before]), state)
            wanted -= logits.log_softmax(-1)[0, after].item()
        assert nll.item() == pytest.approx(wanted, rel=1e-4)


def test_a_model_that_has_learned_the_sentences_prefers_them(tmp_path):
    text = "the cat sleeps .\nthe cats sleep .\n"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    words = build_tokenizer("word", tmp_path / "text.txt")
    model = LanguageModel(words.get_vocab_size(), embedding_size=8, hidden_size=8, num_layers=1)
    rows = torch.tensor([words.encode("").ids + words.encode(line).ids for line in text.splitlines()]).T
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss, _ = model(rows[:-1], rows[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pairs = [
        Pair("subject", "the cat sleeps .", "the cat sleep ."),
        Pair("subject", "the cats sleep .", "the cats sleeps ."),
        Pair("subject", "the dog sleeps .", "the dog sleep ."),
        Pair("turned", "the cat sleep .", "the cat sleeps ."),
    ]
    for size in (1, 3, 16):
        assert [j.right for j in judge(model, words, pairs, size)] == [True, True, None, False]
