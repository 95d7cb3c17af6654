"""A tokenizer.json that somebody sent: what is read again, and all that is refused before it can do harm."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors

from gateflow.data import tokenizer_file
from gateflow.data.tokenizer import build_tokenizer, end_of_line
from gateflow.data.tokenizer_file import read_tokenizer, tokenizer_text
from gateflow.errors import ConfigError, DataError

KINDS = ["word", "char", "bpe"]
TEXT = "고양이가 나비를 쫓는다\n고양이가 잔다 <unk> 😀\n\nthe  cat saw the dog, [1]\n"


@pytest.fixture
def built(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT * 2, encoding="utf-8")
    return lambda kind: build_tokenizer(kind, tmp_path / "text.txt", 300)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "tokenizer.json"


def refusal(file: Path) -> str:
    """What is said, and that it costs neither time nor memory."""
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(DataError) as caught:
        read_tokenizer(file)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 150e6
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_again(kind, built, file):
    file.write_text(tokenizer_text(built(kind)), encoding="utf-8")
    assert read_tokenizer(file).to_str() == built(kind).to_str()


def test_merges_as_older_versions_of_tokenizers_write_them(built, file):
    whole = json.loads(built("bpe").to_str())
    whole["model"]["merges"] = [" ".join(pair) for pair in whole["model"]["merges"]]
    del whole["model"]["ignore_merges"], whole["model"]["byte_fallback"]
    file.write_text(json.dumps(whole))
    assert read_tokenizer(file).to_str() == built("bpe").to_str()


def pads(t):
    t.enable_padding(length=10**6)


def truncates(t):
    t.enable_truncation(2)


def multiplies(t):
    t.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 1000)] * 3)


def prepends(t):
    t.normalizer = normalizers.Prepend("x" * 1000)


def backtracks(t):
    t.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "removed")


def decodes_to_more(t):
    t.decoder = decoders.Sequence([decoders.Replace("a", "b" * 1000)])


def strips(t):
    t.decoder = decoders.Strip("a", 3, 0)


def ends_more_often(t):
    end = t.id_to_token(end_of_line(t))
    t.post_processor = processors.TemplateProcessing(
        single=["$A", *[end] * 1000], special_tokens=[(end, t.token_to_id(end))]
    )


def ends_beyond(t):
    end = t.id_to_token(end_of_line(t))
    t.post_processor = processors.TemplateProcessing(single=["$A", end], special_tokens=[(end, 10**9)])


def adds(t):
    t.add_tokens([f"added {n}" for n in range(100)])


def adds_special(t):
    t.add_special_tokens(["a"])


CHANGES = [pads, truncates, multiplies, prepends, backtracks, decodes_to_more, strips, ends_more_often, ends_beyond]
CHANGES += [adds, adds_special]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_part_that_gateflow_does_not_write_is_refused(change, kind, built, file):
    tokenizer = built(kind)
    change(tokenizer)
    Tokenizer.from_str(tokenizer.to_str())  # the library itself would take it
    file.write_text(tokenizer.to_str(), encoding="utf-8")
    text = refusal(file)
    assert "gateflow writes no such" in text or "the vocabulary lacks '<eos>'" in text


def changed_model(**parts):
    return lambda whole: whole["model"].update(parts)


MODELS = [changed_model(dropout=0.5), changed_model(continuing_subword_prefix="x" * 99), changed_model(type="Unigram")]
MODELS += [changed_model(byte_fallback=True), changed_model(unk_token="a"), changed_model(max_input_chars_per_word=1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", MODELS)
def test_a_model_of_another_kind_is_refused(change, kind, built, file):
    whole = json.loads(built(kind).to_str())
    change(whole)
    file.write_text(json.dumps(whole))
    refusal(file)


def numbered(change):
    def apply(vocabulary):
        last = max(vocabulary, key=vocabulary.__getitem__)
        vocabulary[last] = change(vocabulary[last])

    return apply


NUMBERS = [numbered(lambda n: n + 1), numbered(lambda n: 2**40), numbered(lambda n: -1), numbered(lambda n: 0)]
NUMBERS += [
    numbered(float),
    numbered(lambda n: True),
    numbered(str),
    numbered(lambda n: [n] * 100),
    numbered(lambda n: None),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", NUMBERS)
def test_numbers_are_those_of_the_vocabulary(change, kind, built, file):
    whole = json.loads(built(kind).to_str())
    change(whole["model"]["vocab"])
    file.write_text(json.dumps(whole))
    assert "has number" in refusal(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_without_what_every_text_needs(kind, built, file):
    whole = json.loads(built(kind).to_str())
    end = "\n" if kind == "char" else "<eos>"
    whole["model"]["vocab"]["other"] = whole["model"]["vocab"].pop(end)
    file.write_text(json.dumps(whole))
    assert f"the vocabulary lacks {end!r}" in refusal(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_absurd_length(kind, built, file):
    whole = json.loads(built(kind).to_str())
    whole["model"]["vocab"]["x" * 10**6] = len(whole["model"]["vocab"])
    file.write_text(json.dumps(whole))
    assert "a token of 1,000,000 characters" in refusal(file)


@pytest.mark.parametrize("merges", [[["a", "nowhere"]], [["a"]], ["a b c"], [[1, 2]], "ab", 3, [None], {"a": "b"}])
def test_merges_of_what_is_no_token(merges, built, file):
    whole = json.loads(built("bpe").to_str())
    whole["model"]["merges"] = merges
    file.write_text(json.dumps(whole))
    assert "is no pair of tokens" in refusal(file)


DAMAGED = [
    "",
    "{",
    "[]",
    "3",
    "null",
    '{"model": 3}',
    "{}",
    '{"model": {}}',
    '{"model": {"vocab": []}}',
    "\x00",
    '{"a": 1e9',
]
DAMAGED += ["[" * 10**6, '{"a":' * 10**5, '{"model": ' + "[" * 500 + "]" * 500 + "}", "1" * 10**5]
DAMAGED += ['{"model": {"vocab": {"<unk>": 0, "\\n": 1}}, "decoder": ' + "[" * 900 + "]" * 900 + "}"]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_no_tokenizer(content, file):
    file.write_text(content)
    refusal(file)
    file.write_bytes(content.encode() + b"\xff")
    refusal(file)


@pytest.mark.parametrize("part", [b"[],", b"{},", b"0,", b'"",', b"x" * 100], ids=str)
def test_what_is_huge_is_refused_unread(part, file):
    file.write_bytes(b'{"model": [' + part * (68 * 10**6 // len(part)))
    assert "too large" in refusal(file)


def test_what_could_not_be_read_again_is_not_written(built, monkeypatch):
    monkeypatch.setattr(tokenizer_file, "LARGEST_FILE", 100)
    with pytest.raises(ConfigError, match=r"a vocabulary of \d+ tokens is too large: .* --vocab-size"):
        tokenizer_text(built("word"))
