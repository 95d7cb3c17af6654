"""Texts that cannot be learnt from, what is told of others, runs that were damaged; and nothing half written."""

import json
import warnings

import pytest
from tests.tasks.classifier.conftest import config_of, train
from tests.tasks.classifier.texts import opinions, topics, write

from gateflow.data.labelled import LabelledText
from gateflow.errors import ConfigError, DataError, DataWarning, GateflowError, RunError
from gateflow.runs.weights import read_header
from gateflow.tasks.classifier.checks import checked_labels
from gateflow.tasks.classifier.classifying import classify_examples
from gateflow.tasks.classifier.data import own_examples, set_up
from gateflow.tasks.classifier.evaluation import evaluate_run
from gateflow.tasks.classifier.inputs.texts import TextEncoder
from gateflow.tasks.classifier.inputs.vocabulary import Words
from gateflow.tasks.classifier.loading import load, load_encoder, load_targets, refuse_other_model
from gateflow.tasks.description import Given

GOOD = "".join(f"{label}\t{text}\n" for text, label in opinions(12))
BAD = {
    "nothing": ("", "is empty"),
    "one class": ("pos\ta\npos\tb\npos\tc\n", "every text to learn from has the label pos, so there is nothing to"),
    "one text": ("pos\ta\n", r"which holds what cannot be seen|has one text"),
    "columns": (GOOD + "pos\ta\tb\n", "line 13: 3 columns, where line 1 has 2"),
    "numbers": ("".join(f"{k}.5\ttext {k % 5}\n" for k in range(40)), "look like numbers, and no names of classes"),
    "texts": ("".join(f"{k % 4}\tand text {k}\n" for k in range(40)), "look like texts of their own"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_learnt_from(tmp_path, name):
    content, message = BAD[name]
    file = tmp_path / "train"
    file.write_text(content)
    columns = (
        {"text": "2", "label": "1"} if name == "numbers" else {"text": "1", "label": "2"} if name == "texts" else {}
    )
    with pytest.raises(DataError, match=message) as caught:
        set_up(tmp_path / "run", config_of({"train": file, **columns}))
    assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["train"]


def told(tmp_path, content, valid=None, **data):
    file = tmp_path / "train"
    file.write_text(content)
    if valid is not None:
        (tmp_path / "valid").write_text(valid)
        data["valid"] = tmp_path / "valid"
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run = set_up(tmp_path / "run", config_of({"train": file, **data}))
    return run, [str(warning.message) for warning in found if warning.category is DataWarning]


def test_a_label_of_the_validation_alone_is_told(tmp_path):
    run, (message,) = told(tmp_path, GOOD, "strange\tnothing new\npos\tnothing else\n")
    assert message.startswith("1 label of the validation part cannot be learnt")
    assert load_targets(run).names == ("neg", "pos", "strange")


def test_texts_in_both_parts_are_counted(tmp_path):
    _, messages = told(tmp_path, GOOD, "".join(GOOD.splitlines(keepends=True)[:3]))
    assert any("3 of the 3 texts to validate on are in the training part too" in text for text in messages)


def test_empty_texts_and_long_ones_are_counted_and_learnt(tmp_path):
    long = "long " * 100_000
    run, messages = told(tmp_path, f"{GOOD}pos\t\nneg\t{long}\n", "pos\ta b c\n", label="1", longest=50)
    assert any("1 of the 14 texts to learn from are empty" in text for text in messages)
    assert any("1 of the 14 texts to learn from have more than 50 tokens" in text for text in messages)
    assert len(own_examples(run, load_targets(run), "train")) == 14
    with pytest.warns(DataWarning, match="some texts have more than 50 tokens: the rest of them is not read"):
        load_encoder(run).fitting(LabelledText(long, (), line=1))


def test_names_of_columns_that_were_taken_for_a_text_are_told(tmp_path):
    _, (message,) = told(tmp_path, "class\tdocument\n" + GOOD, label="1", text="2")
    assert "the label 'class' of line 1 occurs once" in message


def test_two_spellings_of_a_number_are_told(tmp_path):
    content = GOOD.replace("pos", "1").replace("neg", "0") + "1.0\tthe same\n1.0\tagain\n"
    _, messages = told(tmp_path, content)
    assert any("'1' and '1.0' are two labels, though they look like one number" in text for text in messages)


def test_labels_that_look_the_same_are_told_and_those_that_are_the_same_are_one(tmp_path):
    rows = "".join(f"{label}\tfilm {k}\n" for k, label in enumerate(["caf\u00e9", "cafe\u0301"] * 6))
    _, messages = told(tmp_path, rows, text="2", label="1")
    assert any(r"'caf\xe9' are two labels, though they look the same" in text for text in messages)
    texts = [LabelledText(f"film {k}", (label,), line=k) for k, label in enumerate([1, "1"] * 9)]
    with pytest.raises(DataError, match="every text to learn from has the label 1, so there is nothing to learn"):
        checked_labels(texts, [], multi_label=False)


@pytest.mark.parametrize(
    ("first", "is_told"),
    [
        ('{"text": "good"}', True),
        ("text,label", True),
        ("pos\ta good film", True),
        ("__label__pos a good film", True),
        ("a good, long film", False),
        ("{good}", False),
        ("good\tbad", False),
    ],
)
def test_a_table_that_is_classified_line_by_line_is_told(trained, tmp_path, first, is_told):
    file = tmp_path / "new"
    file.write_text(f"{first}\na film\n")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        lines = classify_examples(Given(trained), file, text=None, weights=False, batch_size=8)
        assert len(list(lines.items)) == 2
    assert any("looks like that of a table; --text COLUMN" in str(warning.message) for warning in found) is is_told


def test_a_file_that_changes_after_the_set_up_changes_nothing(tmp_path):
    file = write(tmp_path / "train", opinions(20))
    run = set_up(tmp_path / "run", config_of({"train": file}))
    file.unlink()
    assert len(own_examples(run, load_targets(run), "train")) == 18


DAMAGE = {
    "labels.json": ["{", '{"names": []}', '{"names": ["a", "a"]}', '{"names": ["a"], "integers": true}', "[" * 100_000],
    "vocabulary.json": ["{", '{"kind": "word", "tokens": [1]}', '{"kind": "words", "tokens": []}'],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in DAMAGE.items() for text in texts])
def test_files_of_a_run_that_are_none(tmp_path, name, content):
    run = set_up(tmp_path / "run", config_of({"train": write(tmp_path / "train", opinions(20))}))
    (run.path / name).write_text(content)
    read = load_targets if name == "labels.json" else load_encoder
    with pytest.raises(RunError, match="damaged"):  # by its checksum
        read(run)
    (run.path / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match="damaged: it (holds no labels|is no vocabulary) of a classifier"):
        read(run)


def test_labels_and_tokens_of_another_model_are_refused_by_the_weights(tmp_path, trained):
    labels, encoder, config = load_targets(trained), load_encoder(trained), trained.config()
    file = trained.model_file
    found = read_header(file).tensors
    three = labels.model_copy(update={"names": ("a", "b", "c")})
    fewer = TextEncoder(Words("word", encoder.vocabulary.tokens[:-1]), 99)
    refuse_other_model(found, config, encoder, labels, file)
    for other in ((encoder, three), (fewer, labels)):
        with pytest.raises(RunError, match="does not fit"):
            refuse_other_model(found, config, *other, file)


WRONG = [
    ({"data": {"fold": 1}}, "--fold 1: there are no folds"),
    ({"data": {"folds": 3, "fold": 4}}, "--fold 4: there are 3 folds"),
    ({"training": {"class_weights": "pos:2"}}, "--class-weights pos:2: write it as pos=2,neg=1"),
    ({"training": {"threshold": 1.5}}, "--threshold 1.5: neither a number between 0 and 1 nor fit"),
    ({"model": {"read_out": "sum"}}, "--read-out sum"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        config_of({"train": "x", **options.get("data", {})}, options.get("model"), options.get("training"))


def test_a_weight_of_no_label_leaves_no_run(tmp_path):
    file = write(tmp_path / "train", opinions(20))
    with pytest.raises(ConfigError, match="no text has the label 'good'; there are neg, pos"):
        set_up(tmp_path / "run", config_of({"train": file}, training={"class_weights": "good=2"}))
    assert not (tmp_path / "run").exists()


def test_folds_need_a_fold_and_enough_texts(tmp_path):
    file = write(tmp_path / "train", opinions(20))
    with pytest.raises(ConfigError, match="--folds 4 makes 4 runs"):
        set_up(tmp_path / "run", config_of({"train": file, "folds": 4}))
    with pytest.raises(DataError, match="20 texts, too few for 11 folds"):
        set_up(tmp_path / "run", config_of({"train": file, "folds": 11, "fold": 1}))


def evaluated(run, **options):
    given = {"data": None, "predictions": None, "text": None, "label": None, "batch_size": 64} | options
    return evaluate_run(Given(run), **given)


def test_evaluation_of_other_files(trained, tmp_path):
    known = own_examples(trained, load_targets(trained), "train")[0]
    rows = [*opinions(12, seed=9), (known.text, str(known.labels[0])), ("what is this", "strange")]
    answer = evaluated(trained, data=write(tmp_path / "test", rows), predictions=tmp_path / "out")
    assert any("labels that training has not seen, and that cannot be given: strange" in line for line in answer.lines)
    assert any("are in the training part too; without them: accuracy" in line for line in answer.lines)
    assert any(line.startswith("AUROC") and line.endswith("nats of the 13 with others") for line in answer.lines)
    assert answer.json["new_texts"]["examples"] < answer.json["examples"] == 14
    assert json.dumps(answer.json)
    assert len((tmp_path / "out").read_text().splitlines()) == 15
    with pytest.raises(DataError, match="has none of the run's labels"):
        evaluated(trained, data=write(tmp_path / "other", [("a", "x"), ("b", "x")]), text="2", label="1")
    with pytest.raises(ConfigError, match="is a file of --data"):
        evaluated(trained, data=tmp_path / "test", predictions=tmp_path / "test")
    with pytest.raises(ConfigError, match="--text and --label say where --data has its columns"):
        evaluated(trained, label="1")


def test_figures_of_several_labels_have_their_thresholds(tmp_path):
    data = {"train": write(tmp_path / "a", topics(40)), "multi_label": True}
    answer = evaluated(train(tmp_path / "run", data, training={"epochs": 1}))
    assert answer.tables[0].columns[-1] == "from"
    assert answer.lines[0].startswith("micro F1 ")


def test_a_run_without_a_model_says_what_to_do(tmp_path):
    run = set_up(tmp_path / "run", config_of({"train": write(tmp_path / "train", opinions(20))}))
    with pytest.raises(GateflowError, match="gateflow resume"):
        load(run)
