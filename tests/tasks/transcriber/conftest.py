"""Transcribers that are trained once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState, GradientState
from tests.tasks.transcriber.lines import texts, write_images, write_sounds

from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.data import set_up
from gateflow.tasks.transcriber.run import TranscriberRun
from gateflow.tasks.transcriber.task import TranscriberTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

SMALL = {"hidden_size": 24, "layers": 1, "front_size": 12, "dropout": 0.0}
QUICK = {"epochs": 30, "batch_size": 8, "lr": 0.02, "warmup": 10, "monitor": False, "augment": False}


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps its settings for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def config_of(**options: Any) -> TranscriberConfig:
    """A small network; options of all sections."""
    sections: dict[str, dict[str, Any]] = {"model": dict(SMALL), "training": dict(QUICK)}
    of = {name: section for section, part in TranscriberConfig.sections().items() for name in part.model_fields}
    for name, value in options.items():
        sections.setdefault(of[name], {})[name] = value
    return TranscriberConfig.build(sections)


def train(path: Path, **options: Any) -> TranscriberRun:
    """A run, trained to its end."""
    run = set_up(path, config_of(**options))
    go_on(run)
    return run


def go_on(run: TranscriberRun, callbacks: tuple = ()) -> None:
    """Train a run from wherever it stands."""
    config = run.config()
    TrainingLoop(TranscriberTask(run, config), config.training, run, join_processes(config.training), callbacks).train()


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> tuple[Path, Path]:
    """Pictures to learn from, and others."""
    folder = tmp_path_factory.mktemp("images")
    return write_images(folder / "train", texts(64)), write_images(folder / "valid", texts(12, 1))


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> tuple[Path, Path]:
    """Recordings to learn from, and others."""
    folder = tmp_path_factory.mktemp("sounds")
    return write_sounds(folder / "train", texts(48)), write_sounds(folder / "valid", texts(12, 1))


@pytest.fixture(scope="session")
def reader(tmp_path_factory, images) -> TranscriberRun:
    """Of pictures."""
    return train(tmp_path_factory.mktemp("runs") / "reader", train=images[0], valid=images[1], height=24)


@pytest.fixture(scope="session")
def listener(tmp_path_factory, sounds) -> TranscriberRun:
    """Of sounds, as they come."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"bands": 20, "bidirectional": False, "front_size": 24, "reduce": "4", "epochs": 40, "lr": 0.01}
    return train(folder / "listener", train=sounds[0], valid=sounds[1], **options)
