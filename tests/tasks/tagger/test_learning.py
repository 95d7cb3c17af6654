"""A tagger learns what is asked of it: that the future decides, several columns, words it begins from vectors."""

import json
import shutil

import numpy as np
import pytest
import torch
from tests.tasks.tagger.conftest import train
from tests.tasks.tagger.sentences import sentences, write
from tests.training.test_loop import StopAfter, metrics

from gateflow.errors import DataError, DataWarning
from gateflow.tasks.description import Given
from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.data import read_as_learnt, set_up
from gateflow.tasks.tagger.evaluation import evaluate, evaluate_run
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import TaggerTask, own_sentences
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop


def f1(run) -> float:
    vocabulary = load_vocabulary(run)
    found = evaluate(load_model(run, vocabulary), vocabulary, own_sentences(run, vocabulary, "valid"))
    return found.measures["tag"].micro().f1


def test_the_future_decides(trained, files, tmp_path):
    """Who reads forwards, tag by tag, cannot know at *Teddy* what follows; a CRF looks at what is said of it later."""
    data, forwards = {"train": files[0], "valid": files[1]}, {"bidirectional": False}
    assert f1(trained) > 0.95
    assert f1(train(tmp_path / "forwards", data, forwards | {"crf": False})) < 0.8
    assert f1(train(tmp_path / "with-crf", data, forwards | {"crf": True})) > 0.95


def test_what_training_says_of_the_validation_is_what_evaluate_finds(trained):
    best = max(record["f1"] for record in metrics(trained) if record["kind"] == "valid")
    assert f1(trained) == pytest.approx(best)


def test_a_run_holds_its_sentences_as_they_are_learnt(trained):
    assert "Teddy\tB-PER\nRoosevelt\tE-PER\n" in trained.sentences_file("train").read_text(encoding="utf-8")
    found = json.loads(trained.vocabulary_file.read_text(encoding="utf-8"))
    assert found["columns"][0]["labels"] == ["O", "B-PER", "I-PER", "E-PER", "S-PER"]


@pytest.mark.parametrize("options", [{"characters": "cnn"}, {"characters": "none"}, {"crf": False}, {"cell": "gru"}])
def test_other_networks_learn_too(files, tmp_path, options):
    data = {"train": files[0], "valid": files[1]}
    run = train(tmp_path / "run", data, options, {"epochs": 12})
    assert f1(run) > 0.8


def untimed(record):
    return {name: value for name, value in record.items() if name != "words_per_second"}


def columns(file, pairs):
    """Words, whether a word has a capital, and its name tag, as columns."""
    lines = ("".join(f"{w} {w[0].isupper()} {t}\n" for w, t in zip(*pair, strict=True)) for pair in pairs)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_several_columns_are_learnt_at_once(tmp_path):
    pairs = sentences(160)
    file, other = columns(tmp_path / "a", pairs[:120]), columns(tmp_path / "b", pairs[120:])
    data = {"train": file, "valid": other, "columns": "capital,ner", "names": "word,capital,ner"}
    run = train(tmp_path / "run", data, training={"epochs": 15})
    vocabulary = load_vocabulary(run)
    assert [(column.name, column.scheme) for column in vocabulary.columns] == [("capital", None), ("ner", "BIOES")]
    found = evaluate(load_model(run, vocabulary), vocabulary, own_sentences(run, vocabulary, "valid"))
    assert found.measures["capital"].accuracy > 0.97
    assert found.measures["ner"].micro().f1 > 0.8
    last = [record for record in metrics(run) if record["kind"] == "valid"][-1]
    assert last["mean"] == pytest.approx((last["accuracy_capital"] + last["f1_ner"]) / 2)
    assert not any(name.startswith("_") for name in last)


def test_words_begin_from_vectors_and_stay_there_if_frozen(files, tmp_path):
    vectors = tmp_path / "words.vec"
    others = "".join(f"{word} {'3 ' * 12}\n" for word in ("parks", "rosa", "hilton"))
    vectors.write_text("teddy " + "0.5 " * 11 + "1\nbears " + "1 " * 11 + "2\nelse" + " 7" * 12 + "\n" + others)
    data = {"train": files[0], "valid": files[1], "embeddings": vectors}
    run = train(tmp_path / "run", data, {"frozen": True}, {"epochs": 1})
    vocabulary = load_vocabulary(run)
    model = load_model(run, vocabulary)
    assert model.embedding.weight[vocabulary.word("Teddy")].tolist() == [0.5] * 11 + [1]
    mean = (0.5 + 1 + 3 * 3) / 5
    assert model.embedding.weight[0].tolist() == pytest.approx([mean] * 11 + [(1 + 2 + 3 * 3) / 5])


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(files, tmp_path):
    options = {"training": {"epochs": 3, "average": 0.9, "checkpoint_every": 5}, "data": {"train": files[0]}}
    runs = [set_up(tmp_path / name, TaggerConfig.build(options)) for name in ("whole", "run")]
    for run, stops in zip(runs, ([None], [3, 9, None]), strict=True):
        for stop in stops:
            config = run.config()
            callbacks = [] if stop is None else [StopAfter(stop)]
            task = TaggerTask(run, config)
            TrainingLoop(task, config.training, run, join_processes(config.training), callbacks).train()
    assert [untimed(record) for record in metrics(runs[0])] == [untimed(record) for record in metrics(runs[1])]
    assert runs[0].model_file.read_bytes() == runs[1].model_file.read_bytes()


def test_sentences_in_both_parts_and_wrong_sequences_are_told(tmp_path):
    pairs = sentences(40)
    broken = [
        (words, [tag.replace("B-", "I-") for tag in tags]) if i % 3 == 0 else (words, tags)
        for i, (words, tags) in enumerate(pairs)
    ]
    train_file, valid = write(tmp_path / "a", broken), write(tmp_path / "b", pairs[:7])
    options = {"data": {"train": train_file, "valid": valid, "scheme": "IOB2"}, "model": {"hidden_size": 4}}
    with pytest.warns(DataWarning) as told:
        set_up(tmp_path / "run", TaggerConfig.build(options))
    messages = [str(warning.message) for warning in told]
    assert any("of the 7 sentences to validate on are in the training part too" in text for text in messages)
    assert any("tags of the training part cannot follow the one before" in text for text in messages)


def with_documents(file, pairs, sizes):
    """Sentences in documents of these sizes, which a column counts besides."""
    rows, remaining = [], iter(pairs)
    for number, size in enumerate(sizes):
        rows.append("-DOCSTART- O x\n")
        for words, tags in (next(remaining) for _ in range(size)):
            rows.append("".join(f"{word} {tag} d{number}\n" for word, tag in zip(words, tags, strict=True)))
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("group", ["document", "3"])
def test_documents_are_held_out_whole(tmp_path, caplog, group):
    pairs = sentences(60)
    file = with_documents(tmp_path / "train", pairs, [20, 3, 20, 9, 8])
    data = {"train": file, "group": group, "held_out": 0.15, "columns": "2"}
    with caplog.at_level("INFO", "gateflow"):
        run = set_up(tmp_path / "run", TaggerConfig.build({"data": data, "model": {"hidden_size": 4}}))
    held_out = [s.words for s in own_sentences(run, load_vocabulary(run), "valid")]
    assert held_out == [tuple(words) for words, _ in pairs[52:]]
    assert caplog.messages == [f"{file} has 5 groups; 1 of them, 8 of 60 sentences, are held out to validate on."]
    # What is held out is no matter of other files.
    assert len(read_as_learnt(write(tmp_path / "new", pairs[:3]), run.config().data, load_vocabulary(run))) == 3


def test_a_file_without_groups_says_so(tmp_path):
    file = write(tmp_path / "train", sentences(20))
    with pytest.raises(DataError, match="--group document: .*train marks no documents"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "group": "document"}}))
    with pytest.raises(DataError, match="has 2 columns, and column 3 was asked for"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "group": "3"}}))
    one = with_documents(tmp_path / "one", sentences(20), [20])
    with pytest.raises(DataError, match="one has one group, so none can be held out"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": one, "group": "document", "columns": "2"}}))
    assert "group" in TaggerConfig.build({"data": {"train": file, "valid": file, "group": "document"}}).idle()


def test_how_many_words_have_a_vector_is_always_told(files, tmp_path, caplog):
    (vectors := tmp_path / "words.vec").write_text("".join(f"{w} 1 2\n" for w in ("teddy", "rosa", "parks", "else")))
    options = {"data": {"train": files[0], "embeddings": vectors}, "model": {"embedding_size": 2, "hidden_size": 4}}
    with caplog.at_level("INFO", "gateflow"):
        run = set_up(tmp_path / "run", TaggerConfig.build(options))
    count = len(load_vocabulary(run).words)
    told = f"{vectors} has vectors of 3 of the {count} words of the training part, {300 / count:.1f} %."
    assert caplog.messages == [told]


def test_evaluate_says_how_many_sentences_were_learnt_from(trained, files, tmp_path):
    pairs = sentences(160)
    new = write(tmp_path / "new", [*pairs[:7], *((["Then", *words], ["O", *tags]) for words, tags in pairs[7:10])])
    answer = evaluate_run(Given(trained), new, None, 64)
    long = sum(len(words) > 3 for words, _ in pairs[:7])
    assert answer.json["sentences_in_training"] == long >= 4
    assert any(line.startswith(f"{long} of the 10 sentences are in the training part too") for line in answer.lines)
    copy = TaggerRun.open(shutil.copytree(trained.path, tmp_path / "run"))
    copy.sentences_file("train").unlink()
    assert evaluate_run(Given(copy), new, None, 64).json["sentences_in_training"] is None


def test_two_processes_count_words_as_one_does(files, tmp_path):
    """The gradient of both shares, each weighted by its words, is that of the whole batch."""
    options = {"data": {"train": files[0]}, "model": {"dropout": 0.0, "word_dropout": 0.0, "hidden_size": 8}}
    run = set_up(tmp_path / "run", TaggerConfig.build(options))
    gradients, words = [], []
    for rank, size in ((0, 1), (0, 2), (1, 2)):
        torch.manual_seed(0)
        task = TaggerTask(run, run.config(), rank, size)
        loss, count, _ = task.loss(task.model, next(task.batches(0, 0)), None)
        loss.backward()
        gradients.append(task.model.recurrent.weight_hh_l0.grad)
        words.append(count)
    assert words[0] == words[1] + words[2]
    together = (words[1] * gradients[1] + words[2] * gradients[2]) / words[0]
    torch.testing.assert_close(together, gradients[0], rtol=1e-4, atol=1e-7)


def test_figures_are_numbers(trained):
    vocabulary = load_vocabulary(trained)
    found = evaluate(load_model(trained, vocabulary), vocabulary, own_sentences(trained, vocabulary, "valid"))
    assert np.isfinite(found.seconds)
    assert json.dumps({name: measures.figures() for name, measures in found.measures.items()})
