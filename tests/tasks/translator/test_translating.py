"""What a translator answers: the same in any batch, greedy for a beam of one, a line for each line."""

import io
import json
import sys

import pytest
import torch
from tests.tasks.translator.conftest import TOKENS, train
from tests.tasks.translator.pairs import pairs, write

from gateflow import Translator
from gateflow.cli import main
from gateflow.data.parallel import ParallelText
from gateflow.errors import ConfigError
from gateflow.tasks.description import Given
from gateflow.tasks.translator.attention_page import attention_page
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.encoding import EncodedPairs
from gateflow.tasks.translator.evaluation import evaluate_run
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.prediction import Answer, Translation, predict
from gateflow.tasks.translator.search import Search
from gateflow.tasks.translator.translating import translate_text

SOURCES = [ParallelText(word, ()) for word, _ in pairs(40, seed=9)]
NETWORKS = {
    "attention": {},
    "additive, pointer": {"attention": "additive", "copy": True},
    "no attention": {"attention": "none"},
    "input feeding": {"input_feeding": True, "num_layers": 2, "cell": "gru"},
    "transformer": {"model": "transformer", "heads": 2, "num_layers": 2},
    "transformer, pointer": {"model": "transformer", "heads": 3, "copy": True, "tied": False},
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    file = write(folder / "train.tsv", pairs(60))
    return load_vocabularies(
        set_up(folder / "run", TranslatorConfig.build({"data": {"train": file}, "tokens": TOKENS}))
    )


def random_model_of(vocabularies, **options):
    """Of weights that say something else at each step."""
    torch.manual_seed(4)
    model = TranslatorModel(vocabularies.read, len(vocabularies.target), hidden_size=12, embedding_size=8, **options)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model.eval()


def random_model(vocabularies, **options):
    """One that comes to an end now and then."""
    model = random_model_of(vocabularies, **options)
    # The end as probable as it takes for translations of several lengths.
    model.scores.bias.data[vocabularies.target.end] -= 0 if model.is_recurrent else 20
    for _ in range(60):
        if len({len(by_hand(model, vocabularies, source, 12)) for source in SOURCES[:8]}) > 2:
            return model
        model.scores.bias.data[vocabularies.target.end] += 1
    pytest.fail("no bias of the end gives translations of several lengths")


@torch.no_grad()
def by_hand(model, vocabularies, source, most):
    """The likeliest token at each step, one source at a time."""
    batch, end = (
        EncodedPairs(vocabularies, [source], copying=model.pointer is not None).batch([0]),
        vocabularies.target.end,
    )
    numbers, state = [end], model.start(batch.source, batch.source_lengths)
    for _ in range(most):
        found = model.decode(torch.tensor([[numbers[-1]]]), state)
        numbers.append(int(model.log_probabilities(found, batch.copies, batch.extra).argmax()))
        state = found.state
        if numbers[-1] == end:
            return numbers[1:-1]
    return numbers[1:]


def spelled(vocabularies, model, source, numbers):
    strange = EncodedPairs(vocabularies, [source], copying=True).unknown[0] if model.pointer is not None else []
    known = len(vocabularies.target)
    return [vocabularies.target.token(n) if n < known else strange[n - known - 1] for n in numbers]


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, vocabularies):
    return random_model(vocabularies, **NETWORKS[request.param])


def test_a_beam_of_one_is_greedy(vocabularies, model):
    wanted = [spelled(vocabularies, model, s, by_hand(model, vocabularies, s, 12)) for s in SOURCES]
    found = [answer.best.tokens for answer in predict(model, vocabularies, SOURCES, Search(12))]
    assert found == wanted
    assert len({len(tokens) for tokens in found}) > 1


@pytest.mark.parametrize("beam", [1, 4])
def test_a_batch_of_32_is_one_at_a_time(vocabularies, model, beam):
    if not model.is_recurrent:
        # Products of another size are rounded otherwise, and of random weights hypotheses are as good as each other.
        model = model.double()
    together, alone = (
        list(predict(model, vocabularies, SOURCES, Search(12, beam=beam, nbest=beam, batch_size=size)))
        for size in (32, 1)
    )
    for one, other in zip(together, alone, strict=True):
        assert [t.tokens for t in one.translations] == [t.tokens for t in other.translations]
        assert [t.score for t in one.translations] == pytest.approx([t.score for t in other.translations], abs=1e-4)


def test_a_beam_as_wide_as_the_vocabulary_copies_no_word_of_another_row(tmp_path):
    file = write(tmp_path / "train.tsv", [("a", "A"), ("b", "A")])
    config = TranslatorConfig.build({"data": {"train": file, "held_out": 0.5}, "tokens": TOKENS})
    vocabularies = load_vocabularies(set_up(tmp_path / "run", config))
    model = random_model_of(vocabularies, copy=True)
    sources = [ParallelText(text, ()) for text in ("a", "xyzwv", "q", "aaa", "uvwxyzst")]
    for most in (1, 3):
        together, alone = (
            list(predict(model, vocabularies, sources, Search(most, beam=5, nbest=5, batch_size=size)))
            for size in (5, 1)
        )
        for source, one, other in zip(sources, together, alone, strict=True):
            assert [t.tokens for t in one.translations] == [t.tokens for t in other.translations]
            copied = {token for t in one.translations for token in t.tokens} - {"A", "<unk>"}
            assert copied <= set(source.source)


def test_a_wider_beam_finds_nothing_less_probable(vocabularies):
    model = random_model(vocabularies)
    greedy, wide = (list(predict(model, vocabularies, SOURCES, Search(12, beam=beam))) for beam in (1, 5))
    for one, other in zip(greedy, wide, strict=True):
        assert other.best.log_probability >= one.best.log_probability - 1e-5


def test_the_probability_is_that_of_the_tokens(vocabularies):
    """What a search says of a translation is what training would say of it as a target."""
    model = random_model(vocabularies)
    for source, answer in zip(SOURCES, predict(model, vocabularies, SOURCES, Search(12, beam=3)), strict=True):
        if answer.best.tokens and answer.best.ended:
            pair = ParallelText(source.source, (answer.best.text,))
            batch = EncodedPairs(vocabularies, [pair]).batch([0])
            assert -float(model(batch).nats.detach()) == pytest.approx(answer.best.log_probability, abs=1e-4)


def test_a_blank_source_and_one_of_ten_thousand_tokens(trained):
    vocabularies, model = load_vocabularies(trained), random_model(load_vocabularies(trained))
    long = ParallelText("ab" * 5000, ())
    blank, found, short = predict(model, vocabularies, [ParallelText(" ", ()), long, SOURCES[0]], Search(5))
    assert (blank.best.text, blank.best.tokens) == ("", [])
    assert found.best.weights.shape == (len(found.best.tokens) + 1, 10_001)
    assert short.best.tokens == next(predict(model, vocabularies, SOURCES[:1], Search(5))).best.tokens


SEARCHING = {"beam": 3, "length_penalty": 1.0, "coverage_penalty": 0.0, "min_length": 0, "max_length": None}
SEARCHING |= {"replace_unknown": False, "batch_size": 8}


def verb(trained, tmp_path, text, **options):
    file = tmp_path / "text"
    file.write_text(text, encoding="utf-8")
    return translate_text(Given(trained), file, **{"nbest": 1, "attention": None} | SEARCHING | options)


def test_a_line_for_each_line(trained, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\n\nbda\n")))
    with pytest.raises(SystemExit, match="0"):
        main(["translate", str(trained.path)])
    assert capsys.readouterr().out == "B A\n\nA D B\n"


def test_the_best_few_and_all_that_is_known(trained, tmp_path):
    text, data = next(verb(trained, tmp_path, "ab\n", nbest=3).items)
    *lines, blank = text.split("\n")
    assert blank == "", "behind which those of the next source begin"
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[0][2] == data["translation"] == "B A"
    assert [f"{found['score']:.4f}" for found in data["nbest"]] == [row[1] for row in rows]
    json.dumps(data)


def test_an_unknown_token_becomes_the_one_that_was_looked_at(trained, tmp_path):
    """A letter that training has not seen, and a token for it that the translator is made to say."""
    vocabularies = load_vocabularies(trained)
    model = random_model(vocabularies)
    with torch.no_grad():
        model.scores.bias[vocabularies.target.unknown] += 100
    plain, replaced = (
        next(predict(model, vocabularies, [ParallelText("aqb", ())], Search(4, replace_unknown=replace)))
        for replace in (False, True)
    )
    assert set(plain.best.tokens) == {"<unk>"}
    looked = plain.best.weights[:-1, :3].argmax(-1)
    assert replaced.best.tokens == ["aqb"[k] for k in looked]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Sources of BPE whose words are cut, and targets of words."""
    folder = tmp_path_factory.mktemp("pieces")
    file = write(folder / "train.tsv", [("die größe", "the size"), ("die höhe", "the height")])
    tokens = {"tokenizer": "bpe", "target_tokenizer": "word", "vocab_size": 262, "target_vocab_size": 9}
    config = TranslatorConfig.build({"data": {"train": file, "held_out": 0.5}, "tokens": tokens})
    return load_vocabularies(set_up(folder / "run", config))


def test_a_piece_stands_for_its_word(pieces):
    for text in ("die größe der häuser", " größe\t häuser, ", "größe"):
        cut, words = pieces.source.tokens(text), pieces.source.copied(text)
        assert len(cut) == len(words) > len(text.split())
        assert [word for word in dict.fromkeys(words) if word] == text.split()
        for piece, word in zip(pieces.source.shown(cut), words, strict=True):
            assert "\N{REPLACEMENT CHARACTER}" in piece or piece.strip() in word


@pytest.mark.parametrize("copy", [True, False])
def test_an_unknown_word_that_bpe_has_cut_is_written_whole(pieces, copy):
    model = random_model_of(pieces, copy=copy)
    with torch.no_grad():
        if copy:
            model.pointer.gate.bias.fill_(-100)
        else:
            model.scores.bias[pieces.target.unknown] += 100
    source = ParallelText("größe häuser", ())
    (answer,) = predict(model, pieces, [source], Search(4, replace_unknown=not copy))
    assert answer.best.tokens
    assert set(answer.best.tokens) <= {"größe", "häuser"}
    if copy:
        batch = EncodedPairs(pieces, [ParallelText("häuser größe", ("größe",))], copying=True).batch([0])
        assert batch.labels[0] > len(pieces.target)
        assert (batch.copies == batch.labels[0]).sum() == sum(
            w == "größe" for w in pieces.source.copied("häuser größe")
        )


def test_no_word_is_copied_among_the_pieces_of_a_target(tmp_path):
    """A word is no sequence of BPE's bytes: what is written would be another one."""
    file = write(tmp_path / "train.tsv", [("größe", "the size"), ("höhe", "the height")])
    tokens = {"tokenizer": "word", "target_tokenizer": "bpe", "vocab_size": 262}
    config = TranslatorConfig.build({"data": {"train": file, "held_out": 0.5}, "tokens": tokens})
    vocabularies = load_vocabularies(set_up(tmp_path / "run", config))
    encoded = EncodedPairs(vocabularies, [ParallelText("größe", ("häuser",))], copying=True)
    assert encoded.unknown == [[]]
    assert encoded.labels[0].tolist() == encoded.targets[0].tolist()


def test_a_translation_of_bytes_is_one_line(tmp_path):
    """BPE has a token for each byte: whoever counts lines would find more answers than sources."""
    file = write(tmp_path / "train.tsv", [("die größe", "the size"), ("die höhe", "the height")])
    tokens = {"tokenizer": "bpe", "vocab_size": 262}
    config = TranslatorConfig.build({"data": {"train": file, "held_out": 0.5}, "tokens": tokens})
    vocabularies = load_vocabularies(set_up(tmp_path / "run", config))
    model, known = random_model_of(vocabularies), vocabularies.target.tokenizer.get_vocab()
    for byte in "ĊčĀ":  # as BPE writes a line feed, a carriage return and a zero
        with torch.no_grad():
            model.scores.bias.zero_()[known[byte]] = 1000
        (answer,) = predict(model, vocabularies, SOURCES[:1], Search(3))
        assert (answer.best.tokens, answer.best.text) == ([byte] * 3, " " * 3)


@pytest.mark.parametrize("beam", [1, 3])
def test_what_ends_by_itself_at_the_most_tokens_is_not_cut(trained, beam):
    vocabularies, model = load_vocabularies(trained), load_model(trained, load_vocabularies(trained))
    for source in SOURCES[:5]:
        whole = next(predict(model, vocabularies, [source], Search(20, beam=beam))).best
        assert whole.ended
        length = len(whole.tokens)
        exact, shorter = (
            next(predict(model, vocabularies, [source], Search(most, beam=beam))).best for most in (length, length - 1)
        )
        assert (exact.tokens, exact.ended) == (whole.tokens, True)
        # With several hypotheses a short one that ends by itself may be better than what is cut.
        assert shorter.ended == (len(shorter.tokens) < length - 1)
        assert beam > 1 or not shorter.ended


def test_attention_as_a_page(trained, tmp_path):
    page = tmp_path / "page.html"
    found = [text for text, _ in verb(trained, tmp_path, "ab\n\n<b>\n", attention=page).items]
    html = page.read_text(encoding="utf-8")
    assert len(found) == 3
    assert html.count("<table>") == 2
    assert "http" not in html.replace("http-equiv", "")
    assert "<b>" not in html
    vocabularies = load_vocabularies(trained)
    (answer,) = predict(random_model(vocabularies), vocabularies, SOURCES[:1], Search(5))
    torch.testing.assert_close(answer.best.weights.sum(-1), torch.ones(len(answer.best.weights)))
    assert attention_page([answer], vocabularies.target).count("<td") == answer.best.weights.numel()


def test_pieces_on_the_page_are_what_a_reader_knows(pieces):
    """Not the letters that BPE has for a space and for the bytes of an umlaut."""
    cut = pieces.source.tokens("the size der höhe")
    assert any("Ġ" in token for token in cut)
    weights = torch.ones(len(cut) + 1, 1)
    html = attention_page([Answer([Translation("the size", cut, weights=weights)], ["<end>"])], pieces.source)
    assert not set("ĠÃ¶") & set(html)
    rows = [row.partition("</th>")[0] for row in html.split('<th scope="row">')[1:]]
    assert rows == [*pieces.source.shown(cut), "&lt;end&gt;"]


def test_what_cannot_be_asked_for(trained, tmp_path):
    for options, message in (
        ({"nbest": 9}, "--nbest 9 cannot come out of --beam 3"),
        ({"max_length": 0}, "--max-length 0: give a whole number of at least 1"),
        ({"min_length": 9, "max_length": 4}, "--min-length 9 is more than --max-length 4"),
        ({"attention": trained.model_file}, "--attention .* is a part of the run"),
    ):
        with pytest.raises(ConfigError, match=message):
            verb(trained, tmp_path, "ab\n", **options)


@pytest.mark.filterwarnings("ignore:.*in the training part too")
def test_what_takes_attention_is_refused_without_one_whoever_asks(tmp_path, files):
    data = {"train": files[1], "valid": files[1]}
    run = train(tmp_path / "run", data, {"attention": "none", "hidden_size": 8}, {"epochs": 1})
    python, both = Translator.load(run.path), {"replace_unknown": True, "coverage_penalty": 0.5}
    with pytest.raises(ConfigError, match="^--attention of a translator .* has none to show"):
        verb(run, tmp_path, "ab\n", attention=tmp_path / "page.html")
    for name, value in both.items():
        option = "--" + name.replace("_", "-")
        with pytest.raises(ConfigError, match=f"^{option} takes attention"):
            verb(run, tmp_path, "ab\n", **{name: value})
        with pytest.raises(ConfigError, match=f"^{option} takes attention"):
            evaluate_run(Given(run), None, None, None, "13a", **SEARCHING | {name: value})
        with pytest.raises(ConfigError, match=f"^{name} takes attention"):
            python.predict(["ab"], **{name: value})
