"""Pairs that cannot be learnt from, and runs that were damaged: a line or two, and nothing half written."""

import gzip
import shutil
from pathlib import Path
from unicodedata import normalize

import pytest
from tests.tasks.translator.conftest import TOKENS
from tests.tasks.translator.pairs import pairs, write

from gateflow.errors import ConfigError, DataError, DataWarning, GateflowError, RunError
from gateflow.tasks.description import Given
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import own_pairs, set_up
from gateflow.tasks.translator.evaluation import evaluate_run
from gateflow.tasks.translator.loading import load_model, load_vocabularies, most_tokens
from gateflow.tasks.translator.run import TranslatorRun

GOOD = "ab\tB A\nba\tA B\nbb\tB B\n"
BAD = {
    "one side": (GOOD + "bbb\n", r"train, line 4: 1 column, where line 1 has 2 separated by tabs"),
    "an empty side": (GOOD + "bbb\t\n", r"train, line 4: the target is empty"),
    "nothing": ("", "is empty"),
    "white space": (" \n\n\t\n", "nothing but white space"),
    "one pair": ("a\tA\n", "one pair, so none can be held out"),
    "one source": ("a\tA\na\tB\n", "one source in all its 2 pairs, so none can be held out"),
    "binary": (b"a\tA\n\x00\x01\n", "is not text: there is a NUL byte"),
    "no UTF-8": (b"a\tA\n\xff\xfe\tB\n", "is not UTF-8"),
    "cut gzip": (gzip.compress(GOOD.encode() * 99)[:40], "cut short"),
}


def config(data, **tokens):
    return TranslatorConfig.build({"data": data, "tokens": TOKENS | tokens})


@pytest.mark.filterwarnings("ignore:.*in the training part too")
@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_learnt_from(tmp_path, name):
    content, message = BAD[name]
    file = tmp_path / "train"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message) as caught:
        set_up(tmp_path / "run", config({"train": file}))
    assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["train"]


def test_of_a_sorted_list_pairs_of_all_kinds_are_held_out_and_no_source_is_on_both_sides(tmp_path):
    rows = sorted((source, target) for source, sound in pairs(200) for target in (sound, f"{sound} A"))
    run = set_up(tmp_path / "run", config({"train": write(tmp_path / "train", rows), "held_out": 0.2}))
    learnt, out = ([(x.source, *x.targets) for x in own_pairs(run, part)] for part in ("train", "valid"))
    assert sorted(learnt + out) == rows
    assert not {source for source, _ in learnt} & {source for source, _ in out}
    assert 60 < len(out) < 100
    assert {source[0] for source, _ in out} == set("abcdeㅎ")


def test_a_source_is_the_same_in_both_forms_of_unicode(tmp_path):
    """Their tokens are: on both sides what is validated would be known by heart."""
    words = [f"é{letter}" for letter in "abcdefghijklmnopqrst"]
    rows = [(normalize(form, word), "A") for form in ("NFC", "NFD") for word in words]
    run = set_up(tmp_path / "run", config({"train": write(tmp_path / "train", rows), "held_out": 0.5}))
    learnt, out = ({normalize("NFC", x.source) for x in own_pairs(run, part)} for part in ("train", "valid"))
    assert not learnt & out
    assert learnt | out == set(words)
    halves = [write(tmp_path / form, rows[k : k + 20]) for k, form in ((0, "NFC"), (20, "NFD"))]
    with pytest.warns(DataWarning, match="20 of the 20 sources to validate on are in the training part too"):
        set_up(tmp_path / "other", config({"train": halves[0], "valid": halves[1]}))


def test_two_files_of_other_lengths(tmp_path):
    one, other = tmp_path / "ja", tmp_path / "en"
    one.write_text("a\nb\nc\n")
    other.write_text("A\nB\n")
    with pytest.raises(DataError, match=r"en ends after line 2, where .*ja has 'c'"):
        set_up(tmp_path / "run", config({"train": f"{one},{other}"}))
    other.write_text("A\n\nC\n")
    with pytest.raises(DataError, match=r"en, line 2: blank, where .*ja has 'b'"):
        set_up(tmp_path / "run", config({"train": one, "target_data": other}))


def test_a_source_of_ten_thousand_tokens_is_left_out_and_told(tmp_path):
    file = write(tmp_path / "train", [*pairs(20), ("ab" * 5000, "B A")])
    data = {"train": file, "valid": write(tmp_path / "valid", pairs(24)[20:])}
    with pytest.warns(DataWarning, match=r"1 of the 21 pairs have more than 200 tokens on a side .* line 21: left out"):
        run = set_up(tmp_path / "run", config(data))
    assert len(own_pairs(run, "train")) == 20
    kept = set_up(tmp_path / "all", config(data, longest=10_000))
    assert len(own_pairs(kept, "train")) == 21
    with pytest.raises(DataError, match="no pair can be learnt from: all 21 have more than 1 tokens"):
        set_up(tmp_path / "none", config(data, longest=1))


def test_targets_of_unknown_tokens_only_teach_nothing(tmp_path):
    file = write(tmp_path / "train", [*pairs(20), ("ab", "Q"), ("ba", "<unk> <unk>")])
    data = {"train": file, "valid": write(tmp_path / "valid", pairs(24)[20:])}
    with pytest.warns(DataWarning, match=r"1 of the 22 pairs have no known target token, the first in line 21"):
        set_up(tmp_path / "run", config(data, min_count=2, target_tokenizer="char"))
    with pytest.warns(DataWarning, match=r"2 of the 22 pairs have no known target token, the first in line 21"):
        run = set_up(tmp_path / "words", config(data, min_count=2))
    assert len(own_pairs(run, "train")) == 20
    unknown = write(tmp_path / "unknown", [("ab", "Q"), ("ba", "R"), ("b", "S")])
    with pytest.raises(DataError, match="no pair can be learnt from: all 2 have no known target token"):
        set_up(tmp_path / "none", config({"train": unknown}, min_count=3))


def test_targets_that_can_be_copied_are_learnt_from(tmp_path):
    names = [(f"n{k} said", f"n{k}") for k in range(9)]
    data = {
        "train": write(tmp_path / "train", [*names, ("n1 said", "q")]),
        "valid": write(tmp_path / "v", [("a", "b")]),
    }
    sections = {"data": data, "tokens": {"tokenizer": "word", "min_count": 3}, "model": {"pointer": True}}
    with pytest.warns(DataWarning, match=r"1 of the 10 pairs have no known target token, the first in line 10"):
        run = set_up(tmp_path / "run", TranslatorConfig.build(sections))
    assert [(pair.source, *pair.targets) for pair in own_pairs(run, "train")] == names


@pytest.mark.filterwarnings("ignore:.*in the training part too")
def test_a_text_that_spells_the_end_is_no_end(tmp_path):
    file = write(tmp_path / "train", [("a <eos> b", "A <eos> B"), ("b", "B"), ("c", "C")] * 4)
    run = set_up(tmp_path / "run", config({"train": file, "valid": file}, tokenizer="word", target_tokenizer="word"))
    vocabularies = load_vocabularies(run)
    for side in (vocabularies.source, vocabularies.target):
        assert side.end not in side.numbers(["a <eos> b", "<eos>"])[0]
        assert side.numbers(["<eos>"]) == [[side.unknown]]


@pytest.mark.filterwarnings("ignore:.*in the training part too")
@pytest.mark.parametrize("kind", ["word", "char", "jamo", "bpe"])
def test_a_number_for_each_token_and_the_text_again(tmp_path, kind):
    texts = ["학교 에 간다 .", "naïve  café", "a\u0301 b", "x\ty"]
    file = write(tmp_path / "train", [("a", "b")] * 2)
    given = {"train": [pair(text) for text in texts], "valid": [pair("학교")]}
    run = set_up(
        tmp_path / "run", config({"train": file, "valid": file}, tokenizer=kind, target_tokenizer=kind), given=given
    )
    tokens = load_vocabularies(run).target
    for text in [*texts, "unseen ŝ 곰"]:
        (numbers,) = tokens.numbers([text])
        assert len(numbers) == len(tokens.tokens(text))
        again = tokens.joined(tokens.tokens(text))
        assert again.split() == tokens.joined([again]).split()
        assert tokens.numbers([again]) == [numbers]
    assert tokens.joined(tokens.tokens("학교 에")) == "학교 에"


def pair(text):
    from gateflow.data.parallel import ParallelText

    return ParallelText(text, (text,))


WRONG = [
    (
        {"tokens": {"joint": True, "tokenizer": "char", "target_tokenizer": "word"}},
        "joint.*: both sides are to have one kind",
    ),
    ({"model": {"pointer": True, "attention": "none"}}, "pointer.*: it copies what attention looks at"),
    ({"model": {"attention": "cosine"}}, "--attention cosine"),
    ({"model": {"model": "transformer", "hidden_size": 20}}, "--heads 4: --hidden-size 20 gives each 5 components"),
    ({"tokens": {"vocab_size": 2}}, "--vocab-size 2"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        TranslatorConfig.build({"data": {"train": "train.tsv"}, **options})


DAMAGE = {"source.json": "{", "target.json": '{"version": "1.0"}', "lengths.json": '{"longest_target": 0}'}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_of_a_run_that_is_none(tmp_path, trained, name):
    run = TranslatorRun.open(shutil.copytree(trained.path, tmp_path / "run"))
    (run.path / name).write_text(DAMAGE[name])
    with pytest.raises(RunError, match="damaged"):  # by its checksum
        load_vocabularies(run), most_tokens(run)
    (run.path / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match="restore it from a copy"):
        load_vocabularies(run), most_tokens(run)


def test_tokens_of_another_kind_are_refused(tmp_path, trained):
    run = TranslatorRun.open(shutil.copytree(trained.path, tmp_path / "run"))
    (run.path / "SHA256SUMS").unlink()
    shutil.copyfile(run.tokens_file("target"), run.tokens_file("source"))
    with pytest.raises(RunError, match="holds tokens of the kind word, and config.toml asks for char"):
        load_vocabularies(run)


@pytest.mark.parametrize("key", ["hidden_size", "embedding_size", "layers", "pointer", "attention", "tied"])
def test_weights_of_another_network_are_refused(tmp_path, trained, key):
    run = TranslatorRun.open(shutil.copytree(trained.path, tmp_path / "run"))
    other = {"hidden_size": "99", "embedding_size": "7", "layers": "3", "pointer": "true", "attention": '"none"'}
    lines = run.config_file.read_text().splitlines()
    lines = [f"{key} = {other.get(key, 'false')}" if line.startswith(f"{key} =") else line for line in lines]
    run.config_file.write_text("\n".join(lines))
    if key != "tied":
        with pytest.raises(RunError, match="config.toml"):
            load_model(run, load_vocabularies(run))


OPTIONS = {"beam": 1, "length_penalty": 1.0, "coverage_penalty": 0.0, "min_length": 0, "max_length": None}
OPTIONS |= {"replace_unknown": False, "batch_size": 8, "bleu_tokenize": "none", "target_data": None}


def test_an_evaluation_that_would_replace_what_it_reads(tmp_path, trained):
    file = write(tmp_path / "test.tsv", pairs(10))
    for place in (file, trained.tokens_file("source")):
        with pytest.raises(ConfigError, match="--predictions"):
            evaluate_run(Given(trained), data=file, predictions=place, **OPTIONS)
    sources, *targets = (tmp_path / name for name in ("test.src", "one.tgt", "other.tgt"))
    for path in (sources, *targets):
        path.write_text("ab\n")
    asked = OPTIONS | {"target_data": Path(f"{targets[0]},{targets[1]}")}
    for place in (sources, *targets):
        with pytest.raises(ConfigError, match="--predictions .* would replace it"):
            evaluate_run(Given(trained), data=sources, predictions=place, **asked)
        assert place.read_text() == "ab\n"
    with pytest.raises(ConfigError, match="--bleu-tokenize nought: there are"):
        evaluate_run(Given(trained), data=file, predictions=None, **OPTIONS | {"bleu_tokenize": "nought"})
    with pytest.raises(GateflowError, match="does not exist"):
        evaluate_run(Given(trained), data=tmp_path / "nowhere", predictions=None, **OPTIONS)
