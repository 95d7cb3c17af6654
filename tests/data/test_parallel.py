"""Pairs out of tables and out of two files; what has one side only is told with its line."""

import gzip
import json

import pytest

from gateflow.data.parallel import ParallelText, read_files, read_sources, read_table, two_files
from gateflow.errors import DataError


def written(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


TABLES = {
    "plain": ("a b\tA B\nc\tC\n", {}),
    "crlf and a mark": ("\ufeffa b\tA B\r\n\r\nc\tC\r\n", {}),
    "names": ("target\tsource\nA B\ta b\nC\tc\n", {}),
    "csv": ('source,target\na b,"A B"\nc,C\n', {}),
    "json": ('{"source": "a b", "target": "A B"}\n{"source": "c", "target": ["C"]}\n', {}),
    "columns": ("1\tA B\ta b\n2\tC\tc\n", {"source": "3", "target": "2"}),
    "named columns": ("no\ten\tja\n1\tA B\ta b\n2\tC\tc\n", {"source": "ja", "target": "en"}),
    "gzip": (gzip.compress(b"a b\tA B\nc\tC\n"), {}),
}


@pytest.mark.parametrize("name", TABLES)
def test_pairs_of_a_table(tmp_path, name):
    text, columns = TABLES[name]
    found = list(read_table(written(tmp_path, "pairs", text), **columns))
    assert [(pair.source, pair.targets) for pair in found] == [("a b", ("A B",)), ("c", ("C",))]


def test_several_right_ones_and_features(tmp_path):
    file = written(tmp_path, "pairs", "a\tA\tB\tV;PST\nb\tB\t\tN\n")
    found = list(read_table(file, target="2,3", features="4"))
    assert [(pair.targets, pair.features) for pair in found] == [(("A", "B"), "V;PST"), (("B",), "N")]
    again = written(tmp_path, "again", "".join(pair.to_json() + "\n" for pair in found))
    assert [(p.targets, p.features) for p in read_table(again, features="features")] == [
        (p.targets, p.features) for p in found
    ]


BAD = {
    "one side": ("a\tA\nb\n", r"pairs, line 2: 1 column, where line 1 has 2 separated by tabs"),
    "no target": ("a\tA\n\nb\t \n", r"pairs, line 3: the target is empty"),
    "no source": ("a\tA\n \tB\n", r"pairs, line 2: the source is empty"),
    "no field": ('{"source": "a", "target": "A"}\n{"source": "b"}\n', "line 2: there is no field 'target'"),
    "a number": ('{"source": "a", "target": 3}\n', "line 1: the target is 3, and no text"),
    "half a character": ('{"source": "a", "target": "x\\ud800"}\n', "line 1: character 2 of the target is half"),
    "other fields": ('{"text": "a", "label": "b"}\n', "has the fields text, label; say which are read with --source"),
    "names alone": ("source\ttarget\n", "holds no pairs"),
    "text": ("just a text\n", "has one column; there should be a source and its target"),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_hold_no_pairs(tmp_path, name):
    text, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        list(read_table(written(tmp_path, "pairs", text)))
    assert "\n" not in str(caught.value)


def test_a_column_twice(tmp_path):
    with pytest.raises(DataError, match="asked for twice"):
        list(read_table(written(tmp_path, "pairs", "a\tA\n"), target="1"))


def test_two_files_go_line_by_line(tmp_path):
    one, other = written(tmp_path, "ja", "a b\n\nc\n"), written(tmp_path, "en", gzip.compress(b"A B\n\nC\n"))
    assert list(read_files(one, [other])) == [
        ParallelText("a b", ("A B",), line=1),
        ParallelText("c", ("C",), line=3),
    ]
    third = written(tmp_path, "en2", "AB\n\nC!\n")
    assert [pair.targets for pair in read_files(one, [other, third])] == [("A B", "AB"), ("C", "C!")]


@pytest.mark.parametrize("turned", [False, True])
def test_other_counts_of_lines_name_the_line(tmp_path, turned):
    files = [written(tmp_path, "ja", "a\nb\nc\nd\n"), written(tmp_path, "en", "A\nB\n")]
    first, second = files[::-1] if turned else files
    with pytest.raises(DataError, match=r"en ends after line 2, where .*ja has 'c': line n of one file"):
        list(read_files(first, [second]))


def test_a_line_that_is_blank_in_one_file(tmp_path):
    one, other = written(tmp_path, "ja", "a\nb\n"), written(tmp_path, "en", "A\n  \n")
    with pytest.raises(DataError, match=r"en, line 2: blank, where .*ja has 'b'"):
        list(read_files(one, [other]))
    with pytest.raises(DataError, match="give as many different files"):
        read_files(one, [one])


def test_a_comma_names_two_files_unless_a_file_has_it(tmp_path):
    assert [file.name for file in two_files(tmp_path / "a,b", None)] == ["a", "b"]
    file = written(tmp_path, "a,b", "x\ty\n")
    assert two_files(file, None) == (file, None)


def test_sources_of_lines():
    assert [(s.source, s.features, s.line) for s in read_sources(["a\tV", ""], 7, True)] == [("a", "V", 7), ("", "", 8)]
    assert read_sources(["a\tV"], 1, False)[0].source == "a\tV"


def test_json_is_read_as_it_is_written():
    pair = ParallelText("ㅎ \u2028", ("A", "B"), "V")
    assert json.loads(pair.to_json()) == {"source": "ㅎ \u2028", "target": ["A", "B"], "features": "V"}
