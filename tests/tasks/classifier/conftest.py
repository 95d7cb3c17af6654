"""A classifier that is trained once for all tests, which weighs words by attention."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState
from tests.tasks.classifier.texts import opinions, write

from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import set_up
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.task import ClassifierTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

MODEL = {"hidden_size": 12, "embedding_size": 12, "dropout": 0.1, "word_dropout": 0.0, "read_out": "attention"}
TRAINING = {"epochs": 12, "batch_size": 16, "lr": 0.02, "warmup": 0}


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps its settings for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def config_of(data: dict, model: dict | None = None, training: dict | None = None) -> ClassifierConfig:
    """A small network; options of all sections of data may stand in `data`."""
    sections: dict[str, dict] = {"model": MODEL | (model or {}), "training": TRAINING | (training or {})}
    of = {name: section for section, part in ClassifierConfig.sections().items() for name in part.model_fields}
    for name, value in data.items():
        sections.setdefault(of[name], {})[name] = value
    return ClassifierConfig.build(sections)


def train(path: Path, data: dict, model: dict | None = None, training: dict | None = None) -> ClassifierRun:
    """A run, trained to its end."""
    run = set_up(path, config_of(data, model, training))
    go_on(run)
    return run


def go_on(run: ClassifierRun, callbacks: tuple = ()) -> None:
    """Train a run from wherever it stands."""
    config = run.config()
    TrainingLoop(ClassifierTask(run, config), config.training, run, join_processes(config.training), callbacks).train()


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """Texts to learn from, and others."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = list(dict.fromkeys(opinions(230)))
    return write(folder / "train.tsv", rows[:150]), write(folder / "valid.tsv", rows[150:190])


@pytest.fixture(scope="session")
def trained(tmp_path_factory, files) -> ClassifierRun:
    return train(tmp_path_factory.mktemp("runs") / "trained", {"train": files[0], "valid": files[1]})
