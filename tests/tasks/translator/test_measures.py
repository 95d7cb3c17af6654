"""Edits judged by a definition that is slow and plain; BLEU and chrF judged by sacrebleu's own command."""

import json
import subprocess
import sys
from functools import cache
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.translator.pairs import pairs, write

from gateflow.cli import main
from gateflow.tasks.translator.measures import Measures, edit_distance, sacrebleu_scores

words = st.lists(st.sampled_from("abc"), max_size=6)


@given(words, words)
def test_edits_are_the_fewest(one, other):
    @cache
    def fewest(i, j):
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        kept = fewest(i + 1, j + 1) + (one[i] != other[j])
        return min(kept, 1 + fewest(i + 1, j), 1 + fewest(i, j + 1))

    assert edit_distance(one, other) == fewest(0, 0)


def test_of_several_right_ones_the_nearest_counts():
    measures = Measures()
    measures.add([list("abcd"), list("ab")], list("ab"))
    measures.add([list("abcdef")], list("abxdef"))
    assert measures.figures() == {"exact_match": 0.5, "error_rate": 1 / 8, "token_accuracy": 7 / 8}
    assert {name: group.pairs for name, group in measures.by_length()} == {"1 to 5": 1, "6 to 10": 1}


def test_bleu_and_chrf_are_those_of_the_command(tmp_path):
    """As others score: by sacrebleu's command, on files."""
    found = ["the cat sat on the mat .", "a dog", "it 's so"]
    wanted = [["the cat is on the mat .", "the cat sat there ."], ["a dog barks"], ["it 's so", "so it is"]]
    scores = sacrebleu_scores(found, wanted[:1] + [[w[0]] for w in wanted[1:]], "none")
    assert scores["bleu"]["signature"].startswith("nrefs:var|") or "nrefs" in scores["bleu"]["signature"]
    refs = [right[0] for right in wanted]
    scores = sacrebleu_scores(found, [[ref] for ref in refs], "none")
    (tmp_path / "found").write_text("\n".join(found) + "\n")
    (tmp_path / "refs").write_text("\n".join(refs) + "\n")
    command = [
        sys.executable,
        "-m",
        "sacrebleu",
        "refs",
        "-i",
        "found",
        "-m",
        "bleu",
        "chrf",
        "-tok",
        "none",
        "--force",
        "-w",
        "6",
    ]
    told = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    for name, theirs in zip(("bleu", "chrf"), told, strict=True):
        assert scores[name]["score"] == pytest.approx(theirs["score"], abs=1e-5)
    assert "tok:none" in scores["bleu"]["signature"]


def test_texts_are_compared_in_the_composed_form():
    """A reference of letters and their accents apart is the same text."""
    texts = ["학교 에 간다", "déjà vu et là"]
    for found, wanted in ((texts, [[normalize("NFD", text)] for text in texts]), (texts, [[text] for text in texts])):
        assert [score["score"] for score in sacrebleu_scores(found, wanted).values()] == pytest.approx([100, 100])


def test_evaluate_tells_them(trained, tmp_path, capsys):
    file, out = write(tmp_path / "test.tsv", pairs(20, seed=3)), tmp_path / "out.jsonl"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "evaluate",
                str(trained.path),
                "--data",
                str(file),
                "--predictions",
                str(out),
                "--json",
                "--bleu-tokenize",
                "none",
            ]
        )
    told = json.loads(capsys.readouterr().out)
    assert {"exact_match", "error_rate", "token_accuracy", "bleu", "chrf", "by_length", "cut"} <= told.keys()
    assert told["pairs"] == 20
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    right = sum(row["translation"] in row["target"] for row in rows) / len(rows)
    assert right == pytest.approx(told["exact_match"])
    assert right > 0.5
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", str(trained.path)])
    assert "% of 40 translations exactly right" in capsys.readouterr().out
