"""Language models as a search asks them: judged by reading each text by itself."""

import itertools

import pytest
import torch

from gateflow.data.tokenizer import assemble
from gateflow.decoding.ctc import prefix_beam_search
from gateflow.decoding.states import join, select
from gateflow.errors import ConfigError, DataWarning
from gateflow.runs.weights import unique_tensors, write_tensors
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.loading import build_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.scoring import CharacterScorer, WordScorer, scorer

SYMBOLS = ["", "a", "b", " ", "c"]
CHARACTERS = {"<unk>": 0, "\n": 1, " ": 2, "c": 3, "a": 4, "b": 5}
WORDS = {"<unk>": 0, "<eos>": 1, "ab": 2, "b": 3, "abc": 4, "ä": 5}


def model_of(vocabulary, **options):
    model = LanguageModel(len(vocabulary), embedding_size=5, hidden_size=7, num_layers=2, **options).double().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return model


@torch.no_grad()
def log_probs_after(model, numbers):
    """Of what follows these tokens, all read at once."""
    hidden, _ = model.hidden(torch.tensor(numbers)[:, None])
    return model.scores(hidden).log_softmax(-1)[-1, 0]


def of_characters(model, text):
    ids = [1, *(CHARACTERS.get(c, 0) for c in text), 1]
    return sum(float(log_probs_after(model, ids[:k])[ids[k]]) for k in range(1, len(ids)))


def of_words(model, text, penalty):
    ids, total = [1], 0.0
    for word in text.split(" "):
        if word:
            number = WORDS.get(word, 0)
            total += float(log_probs_after(model, ids)[number]) + (0.0 if number else penalty)
            ids.append(number)
    return total


def told(scorer, text):
    """What the search adds up for a text, symbol by symbol."""
    log_probs, state = scorer.start(1)
    total = 0.0
    for c in [SYMBOLS.index(letter) for letter in text]:
        total += float(log_probs[0, c])
        log_probs, state = scorer.advance(state, torch.tensor([c]))
    return total + float(log_probs[0, 0])


def texts(longest):
    for n in range(longest + 1):
        yield from map("".join, itertools.product("abc ", repeat=n))


@pytest.mark.parametrize("tied", [True, False])
def test_a_text_has_the_probability_that_the_model_gives_it(tied):
    characters = model_of(CHARACTERS, tied=tied)
    words = model_of(WORDS, tied=tied)
    by_characters = CharacterScorer(characters, assemble("char", CHARACTERS), SYMBOLS)
    by_words = WordScorer(words, assemble("word", WORDS), SYMBOLS, unknown_word=-3.0)
    for text in [*texts(2), "abc ab b", "ab  abc a", " ab "]:
        assert told(by_characters, text) == pytest.approx(of_characters(characters, text), abs=1e-9)
        assert told(by_words, text) == pytest.approx(of_words(words, text, -3.0), abs=1e-9)


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_rows_are_read_by_themselves_in_any_order(kind):
    if kind == "characters":
        scorer = CharacterScorer(model_of(CHARACTERS), assemble("char", CHARACTERS), SYMBOLS)
    else:
        scorer = WordScorer(model_of(WORDS), assemble("word", WORDS), SYMBOLS)
    rows = ["ab", "b ", "  ", "ca", "a "]
    log_probs, state = scorer.start(len(rows))
    order = list(range(len(rows)))
    for step in range(2):
        tokens = torch.tensor([SYMBOLS.index(rows[n][step]) for n in order])
        log_probs, state = scorer.advance(state, tokens)
        mixed = torch.tensor([3, 0, 4, 2, 1])
        log_probs, order, state = log_probs[mixed], [order[k] for k in mixed], select(state, mixed)
    state, log_probs = join(state, select(state, torch.tensor([0]))), torch.cat([log_probs, log_probs[:1]])
    for row, n in enumerate([*order, order[0]]):
        alone, single = scorer.start(1)
        for letter in rows[n]:
            alone, single = scorer.advance(single, torch.tensor([SYMBOLS.index(letter)]))
        torch.testing.assert_close(log_probs[[row]], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_a_search_with_it_finds_the_best_of_all_texts(kind):
    log_probs = torch.randn(3, 1, 5, dtype=torch.float64).log_softmax(2)
    if kind == "characters":
        model = model_of(CHARACTERS)
        scorer, judge = CharacterScorer(model, assemble("char", CHARACTERS), SYMBOLS), of_characters
        arguments = ()
    else:
        model = model_of(WORDS)
        scorer, judge = WordScorer(model, assemble("word", WORDS), SYMBOLS, unknown_word=-2.0), of_words
        arguments = (-2.0,)
    options = {"beam": 100, "nbest": 100, "least_probability": 0, "most_symbols": None}
    plain = prefix_beam_search(log_probs, **options)
    found = prefix_beam_search(log_probs, language_model=scorer, lm_weight=0.7, insertion=0.3, **options)
    for n in range(1):
        wanted = {}
        for each in plain[n]:
            text = "".join(SYMBOLS[c] for c in each.tokens)
            wanted[text] = each.score + 0.7 * judge(model, text, *arguments) + 0.3 * len(text)
        scores = {"".join(SYMBOLS[c] for c in each.tokens): each.score for each in found[n]}
        assert scores == pytest.approx(wanted, abs=1e-9)
        assert found[n][0].score == max(scores.values())


def test_alphabets_that_differ(caplog):
    few = assemble("char", {"<unk>": 0, "\n": 1, "a": 2, "q": 3})
    model = model_of(range(4))
    with caplog.at_level("INFO", logger="gateflow"), pytest.warns(DataWarning, match=r"3 of .*'b' \(U\+0062 latin"):
        CharacterScorer(model, few, SYMBOLS, name="runs/lm")
    assert "runs/lm knows 1 characters that the network cannot write: 'q'" in caplog.text
    with pytest.raises(ConfigError, match=r"runs/lm has no text in common with the network.*'я' \(U\+044F cyrillic"):
        CharacterScorer(model, few, ["", "я", "ю"], name="runs/lm")
    with pytest.raises(ConfigError, match="has no space"):
        WordScorer(model_of(WORDS), assemble("word", WORDS), ["", "a", "b"])
    with pytest.raises(ConfigError, match="no text in common"):
        WordScorer(model_of(WORDS), assemble("word", WORDS), ["", " ", "q"])


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_a_run_is_read_by_its_tokens(tmp_path, kind):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\n" * 30)
    options = {
        "data": {"train": text, "valid": text, "tokenizer": kind},
        "model": {"hidden_size": 6, "embedding_size": 6},
    }
    options["training"] = {"batch_size": 4, "window": 5}
    config = LanguageModelConfig.build(options)
    run = set_up(tmp_path / "run", config)
    model = build_model(config.model, load_tokenizer(run).get_vocab_size()).eval()
    write_tensors(run.model_file, unique_tensors(model))
    symbols = ["", *sorted(set("the cat sat on mat"))]
    if kind == "bpe":
        with pytest.raises(ConfigError, match="pieces of words for tokens"):
            scorer(run, symbols)
        return
    found = scorer(run, symbols)
    log_probs, state = found.start(1)
    numbers = [1]
    for letter in "the ":
        log_probs, state = found.advance(state, torch.tensor([symbols.index(letter)]))
    numbers += load_tokenizer(run).encode("the " if kind == "char" else "the", add_special_tokens=False).ids
    wanted = log_probs_after(model, numbers)
    if kind == "char":
        torch.testing.assert_close(log_probs[0, symbols.index("c")], wanted[load_tokenizer(run).token_to_id("c")])
    else:
        for letter in "cat":
            log_probs, state = found.advance(state, torch.tensor([symbols.index(letter)]))
        assert float(log_probs[0, symbols.index(" ")]) == pytest.approx(
            float(wanted[load_tokenizer(run).token_to_id("cat")]), abs=1e-5
        )
