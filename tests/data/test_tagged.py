"""Columns and CoNLL-U as they are read, judged by the package conllu; and what is refused, with its line."""

import gzip
import io
import os
import sys
import threading

import conllu
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.tagged import TaggedSentence, read_tagged
from gateflow.errors import DataError

NAMES = "Teddy\tB-person\nsleeps\tO\n\n우리\tO\n곰은\tB-bear\n잔다\tO\n"

TREEBANK = """\
# newdoc id = bears
# sent_id = 1
# text = Don't wake him.
1-2	Don't	_	_	_	_	_	_	_	_
1	Do	do	AUX	VB	Mood=Imp|VerbForm=Fin	3	aux	_	_
2	n't	not	PART	RB	Polarity=Neg	3	advmod	_	_
3	wake	wake	VERB	VB	VerbForm=Inf	0	root	_	_
3.1	please	_	_	_	_	_	_	_	_
4-4	him	_	_	_	_	_	_	_	SpaceAfter=No
4	him	he	PRON	PRP	_	3	obj	_	_
5	.	.	PUNCT	.	_	3	punct	_	SpacesAfter=\\n|SpaceAfter=No

# sent_id = 2
# text = 10 000 곰이 잔다
1	10 000	10 000	NUM	SN	_	2	nummod	_	_
2	곰이	곰+이	NOUN	NNG+JKS	_	3	nsubj	_	_
3	잔다	자+ㄴ다	VERB	VV+EF	_	0	root	_	_

# newdoc
# text = #곰_
1	#	#	SYM	SW	_	2	dep	_	SpaceAfter=No
2	곰	곰	NOUN	NNG	_	0	root	_	SpaceAfter=No
3	_	_	PUNCT	SY	_	2	punct	_	_
"""


def write(tmp_path, text, name="file.conll"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path, text, **options):
    return list(read_tagged(write(tmp_path, text), **options))


def refused(tmp_path, text, **options):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        list(read_tagged(path, **options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def words(sentences):
    return [" ".join(sentence.words) for sentence in sentences]


def test_words_and_their_last_column(tmp_path):
    assert read(tmp_path, NAMES) == [
        TaggedSentence(("Teddy", "sleeps"), {"tag": ("B-person", "O")}, line=1),
        TaggedSentence(("우리", "곰은", "잔다"), {"tag": ("O", "B-bear", "O")}, line=4),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\t", "  "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n\n", "\n \t \n"),
        lambda text: text.replace("\t", " \t") + "\n",
        lambda text: text.replace("\n", " \n").replace("\n \n", "\n\n"),
        lambda text: "\ufeff" + text,
        lambda text: gzip.compress(text.encode()),
        lambda text: text.removesuffix("\n"),
    ],
    ids=["spaces", "CRLF", "white blank lines", "spaces before tabs", "spaces at the end", "mark", "gzip", "no end"],
)
def test_the_same_sentences_however_they_are_written(tmp_path, change):
    assert read(tmp_path, change(NAMES)) == read(tmp_path, NAMES)


def test_columns_by_number_and_name(tmp_path):
    text = "Teddy NNP I-NP I-PER\nsleeps VBZ I-VP O\n"
    (sentence,) = read(tmp_path, text, columns=["2", "-1", "3"])
    assert sentence.tags == {"2": ("NNP", "VBZ"), "-1": ("I-PER", "O"), "3": ("I-NP", "I-VP")}
    names = ["word", "POS", "chunk", "ner"]
    (named,) = read(tmp_path, text, columns=["pos", "NER"], names=names, words="Word")
    assert named.words == ("Teddy", "sleeps")
    assert named.tags == {"pos": ("NNP", "VBZ"), "NER": ("I-PER", "O")}
    (swapped,) = read(tmp_path, text, words="-1", columns=["1"])
    assert (swapped.words, swapped.tags) == (("I-PER", "O"), {"1": ("Teddy", "sleeps")})


def test_words_alone(tmp_path):
    assert read(tmp_path, "Teddy\nsleeps\n")[0].tags == {}
    assert read(tmp_path, NAMES, columns=None)[0].tags == {}
    assert read(tmp_path, "O Teddy\n", words="2")[0].tags == {}


def test_a_space_that_breaks_no_line_is_part_of_a_word(tmp_path):
    assert words(read(tmp_path, "10\u00a0000\tNUM\n\u3000\tSYM\n")) == ["10\u00a0000 \u3000"]
    assert words(read(tmp_path, "10\u00a0000 NUM\n")) == ["10\u00a0000"]
    assert words(read(tmp_path, "New York\tB-place\n")) == ["New York"]


def test_documents_and_comments_of_plain_files(tmp_path):
    text = (
        "# a file of bears\n\n-DOCSTART- -X- O\n\n# text = Teddy sleeps\nTeddy N O\nsleeps V O\n"
        "-DOCSTART- -X- O\n# newdoc\n#begin document 3\nShe N O\n\n# N O\n#bears N O\n# N O\n\n#end document\n"
    )
    found = read(tmp_path, text)
    assert [(s.words, s.line, s.document) for s in found] == [
        (("Teddy", "sleeps"), 6, 1),
        (("She",), 11, 4),
        (("#", "#bears", "#"), 13, 4),
    ]


def test_a_hash_is_a_word_where_the_columns_fit(tmp_path):
    text = "#bears\tO\nare\tO\n\n# two words\n#\tO\n1\tO\n"
    assert words(read(tmp_path, text)) == ["#bears are", "# 1"]


def test_a_line_without_tabs_has_one_column_where_the_file_has_tabs(tmp_path):
    assert ", line 2: 1 column, where line 1 has 2 separated by tabs" in refused(tmp_path, "a\tO\nNew York\n")


def test_a_file_whose_first_column_counts_the_words(tmp_path):
    text = "#\thttp://bears.org [2026-11-27]\n1\tTeddy\tB-PER\tO\n2\tsleeps\tO\tO\n"
    message = refused(tmp_path, text)
    assert message.startswith(", line 2: the first column counts the words (1, 2 …). Say which column holds them")
    (sentence,) = read(tmp_path, text, words="2", columns=["3"])
    assert (sentence.words, sentence.tags["3"]) == (("Teddy", "sleeps"), ("B-PER", "O"))
    assert words(read(tmp_path, text, words="1")) == ["1 2"]
    # What only begins so is none, nor are later sentences that count.
    assert words(read(tmp_path, "1\tO\n\na\tO\nb\tO\n\n1\tO\n2\tO\n")) == ["1", "a b", "1 2"]
    assert words(read(tmp_path, "1\n2\n")) == ["1 2"]


TOKENS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1).filter(
    lambda word: not word.startswith(("-DOCSTART-", "\ufeff"))
)
SENTENCES = st.lists(st.lists(st.tuples(TOKENS, TOKENS, TOKENS), min_size=1), min_size=1)


@pytest.mark.parametrize("separator", ["\t", " "])
@given(sentences=SENTENCES)
def test_what_is_written_is_read_back(tmp_path_factory, separator, sentences):
    lines = ["".join(f"{separator.join(row)}\n" for row in rows) for rows in sentences]
    # A first line that is a word for certain, by which the layout is known.
    text = separator.join("xyz") + "\n\n" + "\n".join(lines)
    found = read(tmp_path_factory.mktemp("any"), text, words="2", columns=["1", "-1"])[1:]
    assert [list(zip(s.tags["1"], s.words, s.tags["-1"], strict=True)) for s in found] == sentences


def test_universal_dependencies(tmp_path):
    first, second, third = read(tmp_path, TREEBANK, columns=["UPOS", "feats"])
    assert first.words == ("Do", "n't", "wake", "him", ".")
    assert first.tags["UPOS"] == ("AUX", "PART", "VERB", "PRON", "PUNCT")
    assert first.tags["UPOS"] == read(tmp_path, TREEBANK, columns=["4"])[0].tags["4"]
    assert first.tags["feats"] == ("Mood=Imp|VerbForm=Fin", "Polarity=Neg", "VerbForm=Inf", "_", "_")
    assert first.spaces == (False, True, True, False, False)
    assert second.words == ("10 000", "곰이", "잔다")
    assert third.spaces == (False, False, True)
    assert [(s.line, s.document) for s in (first, second, third)] == [(5, 1), (15, 1), (21, 2)]


def test_sentences_have_the_group_that_is_asked_for(tmp_path):
    assert [s.group for s in read(tmp_path, TREEBANK, group="document")] == ["1", "1", "2"]
    assert [s.group for s in read(tmp_path, TREEBANK)] == [None] * 3
    text = "Teddy\tO\tletter 7\nslept\tO\tletter 7\n\n곰\tO\tletter 9\n"
    names = ["word", "ner", "letter"]
    for group in ("3", "-1", "letter"):
        found = read(tmp_path, text, columns=["ner"], names=names, group=group)
        assert [(s.group, s.tags["ner"]) for s in found] == [("letter 7", ("O", "O")), ("letter 9", ("O",))]
    with pytest.raises(DataError, match="line 2: the group in column 3 is 'letter 8', and that of line 1, in the same"):
        read(tmp_path, text.replace("slept\tO\tletter 7", "slept\tO\tletter 8"), columns=["2"], group="3")


def test_the_package_conllu_reads_the_same(tmp_path):
    for ours, theirs in zip(read(tmp_path, TREEBANK), conllu.parse(TREEBANK), strict=True):
        rows = [row for row in theirs if isinstance(row["id"], int)]
        assert ours.words == tuple(row["form"] for row in rows)
        assert ours.tags == {"upos": tuple(row["upos"] for row in rows)}
        text = "".join(word + " " * space for word, space in zip(ours.words, ours.spaces or (), strict=True))
        assert text.strip() == theirs.metadata["text"]


def test_other_columns_named_by_the_first_line(tmp_path):
    text = "# global.columns = FORM NER:IOB\n# text = Teddy\nTeddy\tB-person\n\n곰\tO\n"
    found = read(tmp_path, text, columns=["ner:iob"])
    assert [(s.words, s.tags["ner:iob"], s.spaces) for s in found] == [
        (("Teddy",), ("B-person",), None),
        (("곰",), ("O",), None),
    ]
    text = "# global.columns = ID FORM MISC TAG\n1-2\tdon't\t_\t_\n1\tdo\t_\tx\n2\tn't\tSpaceAfter=No\ty\n"
    (sentence,) = read(tmp_path, text, columns=["tag"])
    assert (sentence.words, sentence.tags["tag"], sentence.spaces) == (("do", "n't"), ("x", "y"), (False, True))


def test_a_treebank_whose_columns_the_caller_calls_otherwise(tmp_path):
    (first, *_) = read(tmp_path, TREEBANK, names=list("abcdefghij"), columns=["d"])
    assert first.words == ("Do", "n't", "wake", "him", ".")
    assert first.tags["d"] == ("AUX", "PART", "VERB", "PRON", "PUNCT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb\n", ", line 2: 1 column, where line 1 has 2 separated by spaces; found 'b'."),
        ("a O\n\nTeddy bears are\n", ", line 3: 3 columns, where line 1 has 2 separated by spaces; found 'Teddy bears"),
        ("a O\n# b c\n", ", line 2: 3 columns, where line 1 has 2"),
        ("a\tO\n\tO\n", ", line 2: the word in column 1 is empty"),
        ("a\tO\nb\t\n", ", line 2: the tag in column 2 is empty"),
        (TREEBANK.replace("10 000", "10").replace("\t", " "), ", line 4: this looks like CoNLL-U, whose columns are"),
        ("# a\n\n#b c\n", " holds no sentence: every line is blank, begins with #, or marks a document"),
        ("-DOCSTART- O\n\n", " holds no sentence"),
        ("", " is empty"),
        ("\n \n", " holds nothing but white space"),
        (b"a\tO\n\xea\xb3\xb0\xff\tO\n", " is not UTF-8: byte 0xff at offset 7 (line 2, column 2)"),
        (b"a\tO\n\0", " is not text: there is a NUL byte at offset 4 (line 2, column 1)"),
        (TREEBANK.replace("\tpunct\t_", "\tpunct"), ", line 11: 9 columns, where CoNLL-U has 10 separated by tabs"),
        (TREEBANK.replace("\n\n", "\n"), ", line 14: word 1 comes after word 5. Put a blank line between sentences"),
        (TREEBANK.replace("3.1\t", "3,1\t"), ", line 8: '3,1' is no ID of a word"),
        (TREEBANK + "\n1.1" + "\t_" * 9 + "\n", ", line 25: a sentence without words"),
        (TREEBANK.replace("3\twake", "3\t"), ", line 7: the word in column 2 is empty"),
    ],
)
def test_what_is_refused_is_told_with_its_line(tmp_path, text, message):
    assert refused(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (NAMES, {"columns": ["ner"]}, " has no column 'ner': its columns have no names. Give a number from 1 to 2."),
        (NAMES, {"words": "ner"}, " has no column 'ner'"),
        (NAMES, {"columns": ["3"]}, " has 2 columns, and column 3 was asked for. Give one of 1 to 2, or -1 to -2"),
        (NAMES, {"columns": ["0"]}, " has 2 columns, and column 0 was asked for"),
        (NAMES, {"columns": ["-3"]}, " has 2 columns, and column -3 was asked for"),
        (NAMES, {"columns": ["2", "-1"]}, ": column 2 is asked for twice, as tags and as tags. Choose another column"),
        (NAMES, {"columns": ["2", "2"]}, ": column 2 is asked for twice, as tags and as tags"),
        (NAMES, {"columns": ["Ner", "ner"], "names": ["word", "ner"]}, ": column 2 is asked for twice"),
        (NAMES, {"group": "2"}, ": column 2 is asked for twice, as tags and as the group"),
        (NAMES, {"group": "5"}, " has 2 columns, and column 5 was asked for"),
        (NAMES, {"columns": ["1"]}, ": column 1 is asked for twice, as the words and as tags"),
        (NAMES, {"names": ["a", "b", "c"]}, " has 2 columns (line 1), and 3 names were given: a, b, c"),
        (TREEBANK, {"columns": ["pos"]}, " has no column 'pos': its columns are id, form, lemma, upos, xpos"),
    ],
)
def test_a_column_that_is_not_there(tmp_path, text, options, message):
    assert refused(tmp_path, text, **options).startswith(message)


def test_a_file_that_is_missing_is_told_at_once(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_tagged(tmp_path / "none.conll")


def test_a_sentence_comes_as_soon_as_it_has_ended(monkeypatch):
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file, encoding="utf-8"))
        watch = threading.Timer(20, pipe.close)
        watch.start()
        pipe.write("Teddy\tO\n\n곰\tO\n".encode())
        sentences = read_tagged("-")
        assert next(sentences).words == ("Teddy",)
        pipe.write(b"\n")
        assert next(sentences).words == ("곰",)
        watch.cancel()
        pipe.close()
        assert list(sentences) == []


def test_memory_holds_one_sentence(tmp_path):
    sentences = read_tagged(write(tmp_path, "a\tO\n\n" * 200_000 + "b\n"))
    assert next(sentences).words == ("a",)
    with pytest.raises(DataError, match="line 400001: 1 column"):
        list(sentences)
