"""Two runs of the task agreement that are trained for a moment, once for all tests."""

from __future__ import annotations

import pytest

from gateflow.inspector.session import Session, subject_of
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.inference import set_up
from gateflow.tasks.agreement.task import AgreementTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

TEXT = "the cats near the boat were full ."


def trained(path, **model):
    sections = {"data": {"sentences": 64, "tested": 20}, "model": {"hidden_size": 8, "embedding_size": 6, **model}}
    run = set_up(path, AgreementConfig.build(sections))
    config = run.config()
    TrainingLoop(AgreementTask(run, config), config.training, run, join_processes(config.training)).train()
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected")
    return trained(folder / "plain"), trained(folder / "chrono", init="chrono:60")


@pytest.fixture(scope="session")
def session(runs):
    return Session([subject_of(path) for path in runs])
