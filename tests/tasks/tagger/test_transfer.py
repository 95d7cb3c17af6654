"""A tagger begins from a language model: what is copied, what is refused, and that the model is not needed again."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.tasks.tagger.conftest import MODEL, TRAINING
from tests.tasks.tagger.sentences import sentences, write
from tests.training.test_loop import StopAfter, metrics

from gateflow import Tagger
from gateflow.errors import ConfigError, DataError, DataWarning, NonFiniteError, RunError
from gateflow.runs.trust import Trust
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up as set_up_lm
from gateflow.tasks.language_model.loading import load_model as load_lm
from gateflow.tasks.language_model.loading import load_tokenizer
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.data import set_up
from gateflow.tasks.tagger.loading import load_vocabulary
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import TaggerTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

SIZES = {"hidden_size": MODEL["hidden_size"], "embedding_size": MODEL["embedding_size"]}


def train_lm(folder: Path, model: dict | None = None, tokenizer: str = "word", text: str = "") -> LanguageModelRun:
    file = folder / "text.txt"
    # The last word stands in one line alone, and in other letters: the form with the smaller number counts.
    lines = "".join(" ".join(words) + "\n" for words, _ in sentences(60))
    file.write_text(text or lines * 3 + "TEDDY unheard\n", encoding="utf-8")
    data = {"train": file, "valid": file, "tokenizer": tokenizer}
    training = {"epochs": 1, "batch_size": 4, "window": 10}
    config = LanguageModelConfig.build({"data": data, "model": SIZES | (model or {}), "training": training})
    run = set_up_lm(folder / "lm", config)
    task = LanguageModelTask(run, config)
    TrainingLoop(task, config.training, run, join_processes(config.training)).train()
    return run


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> LanguageModelRun:
    return train_lm(tmp_path_factory.mktemp("lm"), {"layers": 2})


@pytest.fixture
def copied(lm, tmp_path) -> LanguageModelRun:
    """One that may be damaged."""
    shutil.copytree(lm.path, tmp_path / "lm")
    return LanguageModelRun(tmp_path / "lm")


def begun(path: Path, train: Path, from_lm: Path | None, **model) -> TaggerRun:
    data = {"train": train} | ({"from_lm": from_lm} if from_lm else {})
    return set_up(path, TaggerConfig.build({"data": data, "model": MODEL | model, "training": TRAINING}))


def weights(run: TaggerRun) -> dict[str, torch.Tensor]:
    tensors, _ = read_tensors(run.checkpoint_file)
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


@pytest.mark.parametrize("options", [{}, {"layers": 2}, {"layers": 3, "bidirectional": False}, {"characters": "none"}])
def test_what_both_have_is_copied_and_nothing_else_is_touched(lm, files, tmp_path, options):
    plain, run = (begun(tmp_path / name, files[0], lm_, **options) for name, lm_ in (("plain", None), ("run", lm.path)))
    before, after, source = weights(plain), weights(run), load_lm(lm)
    theirs = dict(source.recurrent.named_parameters())
    layers = min(2, options.get("layers", 1))
    wanted = {f"recurrent.{name}": weight for name, weight in theirs.items() if int(name[-1]) < layers}
    assert len(wanted) == 4 * layers
    for name, weight in wanted.items():
        width = weight.shape[-1]
        assert torch.equal(after[name][..., :width], weight)
        assert torch.equal(after[name][..., width:], before[name][..., width:])
    others = before.keys() - wanted.keys() - {"embedding.weight"}
    assert all(torch.equal(before[name], after[name]) for name in others)
    vocabulary, numbers = load_vocabulary(run), load_tokenizer(lm).get_vocab()
    assert numbers["Teddy"] < numbers["TEDDY"]
    forms = {word.lower(): word for word in sorted(numbers, key=numbers.__getitem__, reverse=True)}
    known = [word for word in vocabulary.words if word in forms]
    assert len(known) > 10
    for word in vocabulary.words:
        row = after["embedding.weight"][vocabulary.word(word)]
        here = source.embedding.weight[numbers[forms[word]]] if word in forms else None
        assert torch.equal(row, before["embedding.weight"][vocabulary.word(word)] if here is None else here)
    mean = torch.stack([source.embedding.weight[numbers[forms[word]]] for word in known]).mean(0)
    torch.testing.assert_close(after["embedding.weight"][0], mean)


def test_the_language_model_is_not_needed_again(copied, files, tmp_path):
    data = {"train": files[0], "from_lm": copied.path}
    options = {"data": data, "model": MODEL, "training": TRAINING | {"epochs": 2, "checkpoint_every": 3}}
    runs = [set_up(tmp_path / name, TaggerConfig.build(options)) for name in ("whole", "run")]
    shutil.rmtree(copied.path)
    for run, stops in zip(runs, ([None], [4, None]), strict=True):
        for stop in stops:
            config = run.config()
            task, processes = TaggerTask(run, config), join_processes(config.training)
            callbacks = [] if stop is None else [StopAfter(stop)]
            TrainingLoop(task, config.training, run, processes, callbacks).train()
    ours, others = (
        [{k: v for k, v in record.items() if "second" not in k and k != "time"} for record in metrics(run)]
        for run in runs
    )
    assert ours == others
    assert runs[0].model_file.read_bytes() == runs[1].model_file.read_bytes()


def test_the_estimator_begins_from_one(lm):
    words, tags = zip(*sentences(60), strict=True)
    options = {**MODEL, **TRAINING, "epochs": 1, "lr": 1e-9, "frozen": True}
    tagger = Tagger(from_lm=str(lm.path), **options).fit(words, tags)
    number = load_tokenizer(lm).get_vocab()["Roosevelt"]
    row = tagger.model_.embedding.weight[tagger.vocabulary_.word("roosevelt")]
    assert torch.equal(row, load_lm(lm).embedding.weight[number])
    assert tagger.get_params()["from_lm"] == str(lm.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 20}, "has --hidden-size 16, and this tagger --hidden-size 20; make them equal with --hidden"),
        (
            {"embedding_size": 8, "cell": "gru"},
            "--cell lstm, --embedding-size 12, and .* --cell gru, --embedding-size 8; .* --cell lstm --embedding-size",
        ),
    ],
)
def test_another_network_is_refused_with_the_options_that_fit(lm, files, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        begun(tmp_path / "run", files[0], lm.path, **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_cell_whose_weights_have_no_columns_for_the_words_is_refused(tmp_path, files):
    lm = train_lm(tmp_path, {"cell": "gru_d"})
    message = r"input_decay of this cell has the shape \[12\] there and \[20\] in layer 1 .* --characters none and"
    with pytest.raises(ConfigError, match=message):
        begun(tmp_path / "run", files[0], lm.path, cell="gru_d")
    begun(tmp_path / "run", files[0], lm.path, cell="gru_d", characters="none")


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_tokens_that_are_no_words_are_refused(tmp_path, files, tokenizer):
    lm = train_lm(tmp_path, tokenizer=tokenizer)
    with pytest.raises(ConfigError, match="characters or parts of words, .* trained with --tokenizer word"):
        begun(tmp_path / "run", files[0], lm.path)


def test_words_that_are_none_of_the_taggers(tmp_path, files):
    lm = train_lm(tmp_path, text="alpha beta gamma delta\n" * 20)
    with pytest.raises(DataError, match=r"lm knows none of the \d+ words; take a language model of their language"):
        begun(tmp_path / "run", files[0], lm.path)
    assert not (tmp_path / "run").exists()


def test_hardly_any_word_is_told(tmp_path):
    lm = train_lm(tmp_path, text="alpha w1 gamma delta\n" * 20)
    train = write(tmp_path / "train", [([f"w{i}" for i in range(30)], ["X", "Y", "Z"] * 10), (["w0"], ["X"])])
    with pytest.warns(DataWarning, match=r"lm has vectors of 1 of the 30 words"):
        begun(tmp_path / "run", train, lm.path)


def test_places_that_are_no_language_model(lm, copied, trained, files, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, kind, message in (
        (tmp_path / "nowhere", RunError, "there is no run at .*nowhere"),
        (empty, RunError, "is not a run: it holds no config.toml"),
        (trained.path, ConfigError, "is a run of the task 'tagger'; name one that `gateflow train lm` has made"),
    ):
        with pytest.raises(kind, match=message):
            begun(tmp_path / "run", files[0], place)
    copied.model_file.unlink()
    with pytest.raises(RunError, match="lacks model.safetensors; it appears with the first validation"):
        begun(tmp_path / "run", files[0], copied.path)


def test_a_damaged_language_model(copied, files, tmp_path):
    tensors, metadata = read_tensors(copied.model_file)
    whole = copied.model_file.read_bytes()
    copied.model_file.write_bytes(whole[:-9] + b"\xff" + whole[-8:])
    with pytest.raises(RunError, match="damaged"):
        begun(tmp_path / "run", files[0], copied.path)
    tensors["embedding.weight"][0, 0] = float("nan")
    write_tensors(copied.model_file, tensors, metadata)
    with pytest.raises(NonFiniteError, match="NaN"):
        begun(tmp_path / "run", files[0], copied.path)
    text = copied.tokenizer_file.read_text(encoding="utf-8")
    copied.tokenizer_file.write_text(text.replace("Teddy", "Toddy"), encoding="utf-8")
    with pytest.raises(RunError, match=r"tokenizer.json is damaged"):
        begun(tmp_path / "run", files[0], copied.path)
    assert not (tmp_path / "run").exists()


def test_code_that_nobody_trusts_is_not_run(copied, files, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    text = copied.config_file.read_text(encoding="utf-8")
    copied.config_file.write_text(text.replace('cell = "lstm"', 'cell = "theirs:Fast"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="has --cell theirs:Fast, and this tagger --cell lstm"):
        begun(tmp_path / "run", files[0], copied.path)


def test_code_that_is_asked_for_is_run(files, tmp_path, monkeypatch):
    (tmp_path / "cells_of_mine.py").write_text("from gateflow.cells import LSTM\nclass Mine(LSTM): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    cell = {"cell": "cells_of_mine:Mine"}
    lm = train_lm(tmp_path, cell)
    run = begun(tmp_path / "run", files[0], lm.path, **cell)
    source = load_lm(LanguageModelRun(lm.path, Trust(everything=True)))
    assert torch.equal(weights(run)["recurrent.weight_hh_l0"], source.recurrent.get_parameter("weight_hh_l0"))


def test_vectors_from_two_places_are_refused(lm, files):
    with pytest.raises(ConfigError, match="--embeddings gives the words their vectors already; take one of the two"):
        TaggerConfig.build({"data": {"train": files[0], "embeddings": "x.vec", "from_lm": lm.path}})
