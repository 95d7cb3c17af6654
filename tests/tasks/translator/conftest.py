"""A translator that is trained once for all tests: characters to sounds, both directions, attention."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tasks.translator.pairs import pairs, write

from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.task import TranslatorTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

TOKENS = {"tokenizer": "char", "target_tokenizer": "word"}
MODEL = {"hidden_size": 24, "embedding_size": 16, "dropout": 0.0}
TRAINING = {"epochs": 25, "batch_size": 16, "lr": 0.02, "warmup": 0, "label_smoothing": 0.05, "log_every": 20}


def train(
    path: Path, data: dict, model: dict | None = None, training: dict | None = None, tokens: dict | None = None
) -> TranslatorRun:
    """A run, trained to its end."""
    sections = {
        "data": data,
        "tokens": TOKENS | (tokens or {}),
        "model": MODEL | (model or {}),
        "training": TRAINING | (training or {}),
    }
    run = set_up(path, TranslatorConfig.build(sections))
    config = run.config()
    TrainingLoop(TranslatorTask(run, config), config.training, run, join_processes(config.training)).train()
    return run


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """Pairs to learn from, and others."""
    folder, rows = tmp_path_factory.mktemp("pairs"), pairs(200)
    return write(folder / "train.tsv", rows[:160]), write(folder / "valid.tsv", rows[160:])


@pytest.fixture(scope="session")
def trained(tmp_path_factory, files) -> TranslatorRun:
    return train(tmp_path_factory.mktemp("runs") / "trained", {"train": files[0], "valid": files[1]})
