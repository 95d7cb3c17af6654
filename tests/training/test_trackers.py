"""Trackers, there or not: TensorBoard, and Weights & Biases and MLflow without a network."""

import sys
from importlib.util import find_spec

import pytest
from accelerate import PartialState

from gateflow.errors import ConfigError
from gateflow.runs.config import RunConfig, TrainingConfig
from gateflow.runs.run import Run
from gateflow.training.trackers import require_tracker, tracked

KINDS = ("tensorboard", "wandb", "mlflow")


@pytest.mark.parametrize("kind", KINDS)
def test_without_it_the_remedy_is_named(kind, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ConfigError, match=rf"--tracker {kind} needs .*: pip install 'gateflow\[{kind}\]'"):
        require_tracker(kind)
    # A folder so called is no package: W&B makes one in the folder where it runs.
    monkeypatch.delitem(sys.modules, kind)
    (tmp_path / kind).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigError, match="pip install"):
        require_tracker(kind)


def test_a_run_of_before_there_were_others():
    assert TrainingConfig.model_validate({"tensorboard": True}).tracker == "tensorboard"
    assert TrainingConfig.model_validate({"tensorboard": False}).tracker is None


def in_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["train/loss", "train/lr"]  # a monitor writes its own
    assert not run.tracker_file.exists()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def in_mlflow(run):
    import mlflow

    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("gateflow").experiment_id])
    assert (found.info.run_name, found.data.metrics["flow/horizon"]) == (run.path.name, 7)
    assert found.data.params["training.lr"] == "0.006"
    assert found.info.run_id in run.tracker_file.read_text()
    return [(each.step, each.value) for each in client.get_metric_history(found.info.run_id, "train/loss")]


def in_wandb(run):
    # A file for each time; synchronised they are one run, since they have one id.
    files = sorted(run.path.parent.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    (name,) = {file.stem.removeprefix("run-") for file in files}
    assert name in run.tracker_file.read_text()
    content = b"".join(file.read_bytes() for file in files)
    assert b"flow/horizon" in content
    assert b"train/perplexity" not in content
    return [(step, value) for step, value in ((3, 2.5), (4, 1.25)) if str(value).encode() in content]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_every_number_of_a_record_becomes_a_point_and_a_resumed_run_goes_on(kind, tmp_path, monkeypatch):
    if find_spec(kind) is None:
        pytest.skip(f"{kind} is an optional extra")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": tmp_path, "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, str(value))
    PartialState()
    (tmp_path / "mine").mkdir()
    run = Run(tmp_path / "mine")
    config = RunConfig.model_construct(task="mine", training=TrainingConfig(tracker=kind))
    for step, loss in ((3, 2.5), (4, 1.25)):
        with tracked(run, config) as tracker:
            tracker.record({"kind": "train", "step": step, "loss": loss, "perplexity": None, "lr": 0.1})
            tracker.record({"kind": "flow", "step": step, "horizon": 7})
    found = {"tensorboard": in_tensorboard, "wandb": in_wandb, "mlflow": in_mlflow}[kind](run)
    assert found == [(3, 2.5), (4, 1.25)]
    assert all(Run.may_hold(file.relative_to(run.path).as_posix()) for file in run.path.rglob("*") if file.is_file())


@pytest.mark.filterwarnings("ignore")
def test_what_the_service_refuses_is_told(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is an optional extra")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    PartialState()
    run = Run(tmp_path)
    run.tracker_file.write_text('{"id": "gone"}')
    config = RunConfig.model_construct(task="mine", training=TrainingConfig(tracker="mlflow"))
    with pytest.raises(ConfigError, match=r"--tracker mlflow: MLflow says: .*gone"), tracked(run, config):
        pass
    mlflow.end_run()
