"""A classifier begins from a language model of the same kind of tokens, and from no other."""

from pathlib import Path

import pytest
import torch
from tests.tasks.classifier.conftest import config_of
from tests.tasks.classifier.texts import opinions, write

from gateflow.errors import ConfigError
from gateflow.runs.weights import read_tensors
from gateflow.tasks.classifier.data import set_up
from gateflow.tasks.classifier.loading import load_encoder
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up as set_up_lm
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

SIZES = {"hidden_size": 12, "embedding_size": 12}


def language_model(folder: Path, tokenizer: str) -> LanguageModelRun:
    file = folder / "text.txt"
    file.write_text("".join(text + "\n" for text, _ in opinions(60)), encoding="utf-8")
    data = {"train": file, "valid": file, "tokenizer": tokenizer} | ({"vocab_size": 280} if tokenizer == "bpe" else {})
    training = {"epochs": 1, "batch_size": 4, "window": 10}
    run = set_up_lm(folder / "lm", LanguageModelConfig.build({"data": data, "model": SIZES, "training": training}))
    task = LanguageModelTask(run, run.config())
    TrainingLoop(task, run.config().training, run, join_processes(run.config().training)).train()
    return run


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_vectors_and_layers_are_those_of_the_language_model(tmp_path, tokenizer):
    lm = language_model(tmp_path, tokenizer)
    data = {"train": write(tmp_path / "a", opinions(30)), "tokenizer": tokenizer, "from_lm": lm.path}
    run = set_up(tmp_path / "run", config_of(data))
    source, vocabulary, known = load_model(lm), load_encoder(run).vocabulary, load_tokenizer(lm)
    begun, _ = read_tensors(run.checkpoint_file)
    token = {"word": "good", "char": "g", "bpe": "g"}[tokenizer]
    vector = source.embedding.weight[known.token_to_id(token)]
    assert torch.equal(begun["model.embedding.weight"][vocabulary.number(token)], vector)
    assert torch.equal(begun["model.recurrent.weight_hh_l0"], source.recurrent.weight_hh_l0)
    assert not torch.equal(begun["model.recurrent.weight_hh_l0_reverse"], source.recurrent.weight_hh_l0)
    cut = known.encode("good film", add_special_tokens=False).tokens
    assert vocabulary.numbers("good film", 99) == [vocabulary.number(name) for name in cut]


def test_other_tokens_are_refused(tmp_path):
    lm = language_model(tmp_path, "char")
    for tokenizer, words in (("word", "vectors of words"), ("bpe", "vectors of parts of words")):
        data = {"train": write(tmp_path / "a", opinions(30)), "tokenizer": tokenizer, "from_lm": lm.path}
        with pytest.raises(ConfigError, match=f"{words}; take a language model trained with --tokenizer {tokenizer}"):
            set_up(tmp_path / "run", config_of(data))
    assert not (tmp_path / "run").exists()
