"""A tagger that is trained once for all tests: characters, both directions, a CRF."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tasks.tagger.sentences import sentences, write

from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.data import set_up
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import TaggerTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

MODEL = {"hidden_size": 16, "embedding_size": 12, "character_size": 8, "dropout": 0.1}
TRAINING = {"epochs": 25, "batch_size": 16, "lr": 0.02, "warmup": 0}


def train(path: Path, data: dict, model: dict | None = None, training: dict | None = None) -> TaggerRun:
    """A run, trained to its end."""
    sections = {"data": data, "model": MODEL | (model or {}), "training": TRAINING | (training or {})}
    run = set_up(path, TaggerConfig.build(sections))
    config = run.config()
    TrainingLoop(TaggerTask(run, config), config.training, run, join_processes(config.training)).train()
    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """Sentences to learn from, and others."""
    folder = tmp_path_factory.mktemp("tagged")
    pairs = sentences(160)
    return write(folder / "train.conll", pairs[:120]), write(folder / "valid.conll", pairs[120:])


@pytest.fixture(scope="session")
def trained(tmp_path_factory, files) -> TaggerRun:
    return train(tmp_path_factory.mktemp("runs") / "trained", {"train": files[0], "valid": files[1]})
