"""A text has one answer, whatever stands beside it; and where words are shown, they stand where they are said to."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.classifier.texts import opinions

from gateflow.data.labelled import LabelledText
from gateflow.errors import ConfigError
from gateflow.tasks.classifier.batches import Batch
from gateflow.tasks.classifier.classifying import classify_examples
from gateflow.tasks.classifier.inputs.texts import TextEncoder
from gateflow.tasks.classifier.inputs.vocabulary import Pieces, Words
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import predict
from gateflow.tasks.classifier.read_out import READ_OUTS, Attention
from gateflow.tasks.description import Given


@pytest.fixture(scope="module")
def loaded(trained):
    return load(trained)


def as_texts(texts):
    return [LabelledText(text, (), line) for line, text in enumerate(texts, 1)]


def answers(loaded, texts, **options):
    """Of each text its only one."""
    return [answer for (answer,) in predict(loaded, texts, **options)]


def test_an_answer_is_the_same_in_any_batch_and_order(loaded):
    texts = as_texts([text for text, _ in opinions(40, seed=5)] + ["", "word " * 300])
    one = answers(loaded, texts, batch_size=1)
    for size, chunk in ((7, 1024), (64, 1024), (5, 9)):
        found = answers(loaded, texts, batch_size=size, chunk=chunk)
        assert [answer.labels for answer in found] == [answer.labels for answer in one]
        for a, b in zip(found, one, strict=True):
            assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
    turned = answers(loaded, texts[::-1])[::-1]
    assert [answer.labels for answer in turned] == [answer.labels for answer in one]


LAYERS = {"two": {}, "one": {"bidirectional": False}, "transformer": {"model": "transformer", "heads": 2}}


@pytest.mark.parametrize("read_out", READ_OUTS)
@pytest.mark.parametrize("layers", LAYERS)
def test_what_lies_beyond_a_text_is_never_seen_be_it_nan(read_out, layers):
    torch.manual_seed(0)
    model = ClassifierModel(5, 3, hidden_size=4, read_out=read_out, **LAYERS[layers])
    vectors, lengths = torch.randn(7, 4, 5), torch.tensor([7, 3, 0, 1])
    for b, length in enumerate(lengths):
        vectors[length:, b] = torch.nan
    vectors.requires_grad_()
    scores = model(Batch(vectors, lengths))
    scores.sum().backward()
    for b, length in enumerate(lengths.tolist()):
        alone = model(Batch(vectors[: max(length, 1), b : b + 1], lengths[b : b + 1]))
        torch.testing.assert_close(alone[0], scores[b], rtol=0, atol=1e-6)
        assert vectors.grad[:length, b].isfinite().all()
        assert not vectors.grad[length:, b].nan_to_num().any()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    # An empty text is whatever is likeliest without any word.
    torch.testing.assert_close(scores[2], model.head.bias)


def test_read_outs_are_what_they_are_called():
    hidden, lengths = torch.randn(5, 3, 4, dtype=torch.float64), torch.tensor([5, 2, 3])
    attention = Attention(4).double()
    for b, n in enumerate(lengths.tolist()):
        row = hidden[:n, b]
        projected = torch.tanh(row @ attention.projection.weight.T + attention.projection.bias)
        wanted = {
            "last": torch.cat([row[-1, :2], row[0, 2:]]),
            "mean": row.mean(0),
            "max": row.amax(0),
            "attention": (projected @ attention.query.weight[0]).softmax(0) @ row,
        }
        for name, judged in wanted.items():
            made = attention if name == "attention" else READ_OUTS[name](4)
            torch.testing.assert_close(made(hidden, lengths, True)[b], judged)
    torch.testing.assert_close(READ_OUTS["last"](4)(hidden, lengths, False)[1], hidden[1, 1])


def lines(run, file, **options):
    given = {"text": None, "weights": False, "batch_size": 64} | options
    return list(classify_examples(Given(run), data=file, **given).items)


def test_each_line_is_answered_with_its_label(trained, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("the film not good\n\nthe plot great\n")
    answers = lines(trained, file)
    assert [text.split("\t")[:2] for text, _ in answers][::2] == [["1", "neg"], ["3", "pos"]]
    assert answers[1][1]["text"] == ""
    for _, data in answers:
        assert sum(data["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert json.dumps(data)


def test_weights_stand_at_their_words(trained, tmp_path):
    file = tmp_path / "table.csv"
    file.write_text('id,review\n1,"The film, not good"\n')
    ((text, data),) = lines(trained, file, text="review", weights=True)
    assert [data["text"][word["begin"] : word["end"]] for word in data["words"]] == ["The", "film", ",", "not", "good"]
    assert sum(word["weight"] for word in data["words"]) == pytest.approx(1, abs=1e-5)
    assert text.splitlines()[-1].split("\t")[2] == "good"


def test_weights_of_what_weighs_nothing_are_refused(files, tmp_path):
    from tests.tasks.classifier.conftest import train

    run = train(tmp_path / "run", {"train": files[0]}, {"read_out": "mean"}, {"epochs": 1})
    with pytest.raises(ConfigError, match="--read-out attention"):
        lines(run, files[0], weights=True)


def test_a_text_of_a_hundred_thousand_words_is_read_as_far_as_asked(loaded):
    long = "the film not good " * 25_000
    encoder = TextEncoder(loaded.encoder.vocabulary, longest=12)
    first, short = answers(loaded._replace(encoder=encoder), as_texts([long, "the film not good " * 3]))
    assert first.labels == short.labels
    assert first.probabilities == pytest.approx(short.probabilities, abs=1e-5)
    assert len(answers(loaded, as_texts([long]), weights=True)[0].weights) == 1000


def test_padding_does_not_change_tokens():
    batch = Batch(torch.tensor([[1, 2]]), torch.tensor([1, 0]))
    assert batch.to(torch.device("cpu")).targets is None


# Letters that normal forms join, part, and put in another order.
HARD = st.text(st.sampled_from("ab 곰각\u1100\u1161\u11a8e\u0301\u0323\u0344ﬁΩ\u09c7\u09be\u0958"), max_size=12)


@given(HARD)
@pytest.mark.parametrize("kind", ["char", "jamo"])
def test_characters_are_those_of_the_normal_form_and_have_places(kind, text):
    found = Words(kind, ()).cut(text, 99)
    assert [token.text for token in found] == Words(kind, ())._spelled(text, 99)
    assert all(0 <= token.begin < token.end <= len(text) for token in found)


def test_pieces_of_bpe_have_places(tmp_path):
    vocabulary = Pieces.of(["곰은 잔다", "the cat sat"] * 3, tmp_path, most=280)
    text = "the 곰\u1100\u1161 cat"
    tokens = vocabulary.cut(text, 99)
    assert len(tokens) == len(vocabulary.numbers(text, 99))
    assert "".join(dict.fromkeys(text[token.begin : token.end] for token in tokens if token.text.isascii()))
    assert {token.text for token in tokens} >= {"가".replace("가", "\u1100\u1161")}
    assert not list(tmp_path.iterdir())
