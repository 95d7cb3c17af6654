"""TensorBoard, there or not."""

import importlib.util
import sys

import pytest

from gateflow.errors import ConfigError
from gateflow.training.tensorboard import TensorBoardCurves, require_tensorboard


def test_without_it_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\[tensorboard\]'"):
        require_tensorboard()


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is an optional extra")
@pytest.mark.filterwarnings("ignore")
def test_every_number_of_a_record_becomes_a_point(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = TensorBoardCurves(tmp_path)
    curves.record({"kind": "train", "step": 3, "epoch": 0.5, "loss": 2.5, "perplexity": None, "lr": 0.1})
    curves.record({"kind": "flow", "step": 3, "epoch": 0.5, "horizon": 7})  # which a monitor writes itself
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["train/loss", "train/lr"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(3, 2.5)]
