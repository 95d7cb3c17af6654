"""The monitor in the loops of others, with the real libraries where they are installed."""

import math

import pytest
import torch
from torch import nn

from gateflow import LSTM
from gateflow.errors import ConfigError, NonFiniteError
from gateflow.integrations import lightning, skorch, transformers

STEPS, ROWS, UPDATES = 12, 4, 3


class Model(nn.Module):
    """Reads `[B, T, 3]`, says `[B, 1]`; with `labels` it returns its loss, as Hugging Face's models do."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = LSTM(3, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x, labels=None):
        y = self.out(self.layer(x)[0][:, -1])
        return y if labels is None else {"loss": (y - labels).square().mean(), "logits": y}


def data(bad=False):
    x, y = torch.randn(ROWS * UPDATES, STEPS, 3), torch.randn(ROWS * UPDATES, 1)
    y[-1] = math.nan if bad else 0.0
    return x, y


def by_lightning(callback, x, y):
    from lightning import pytorch as library

    class Module(library.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Model()

        def training_step(self, batch, _):
            return (self.model(batch[0]) - batch[1]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = library.Trainer(accelerator="cpu", logger=False, max_epochs=1, callbacks=[callback], **quiet)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), ROWS)
    trainer.fit(Module(), loader)
    return float(trainer.callback_metrics["flow/horizon"])


def by_transformers(callback, x, y, tmp_path):
    import transformers as library

    options = {"report_to": "none", "use_cpu": True, "max_steps": UPDATES, "per_device_train_batch_size": ROWS}
    args = library.TrainingArguments(str(tmp_path), save_strategy="no", disable_tqdm=True, logging_steps=1, **options)
    rows = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    trainer = library.Trainer(Model(), args, train_dataset=rows, callbacks=[callback])
    trainer.train()
    return next(record["flow/horizon"] for record in trainer.state.log_history if "flow/horizon" in record)


def by_skorch(callback, x, y):
    import skorch as library

    options = {"max_epochs": 1, "batch_size": ROWS, "train_split": None, "verbose": 0, "iterator_train__shuffle": False}
    net = library.NeuralNetRegressor(Model, callbacks=[callback], **options)
    net.fit(x.numpy(), y.numpy())
    return net.history[0, "batches", 0, "flow/horizon"]


LOOPS = {
    "lightning": (lightning, by_lightning, "model"),
    "transformers": (transformers, by_transformers, ""),
    "skorch": (skorch, by_skorch, ""),
}


@pytest.fixture(params=LOOPS)
def loop(request, tmp_path):
    """A callback's class, a function that trains with one, and the part of the model that it watches."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed; make test-all brings it")
    module, train, of = LOOPS[request.param]
    where = {"tmp_path": tmp_path} if train is by_transformers else {}
    return lambda **options: (module.MonitorCallback(of, **options), lambda found, x, y: train(found, x, y, **where))


@pytest.mark.filterwarnings("ignore")  # of the libraries themselves
def test_a_monitor_measures_and_logs_in_somebody_elses_loop(loop):
    callback, train = loop(every=2, budget=1.0)
    logged = train(callback, *data())
    assert [record["step"] for record in callback.watching.history] == [1, 2]
    assert all(record["horizon"] > 0 and math.isfinite(record["loss"]) for record in callback.watching.history)
    assert logged in [record["horizon"] for record in callback.watching.history]
    assert callback.watching.monitor is None


@pytest.mark.filterwarnings("ignore")
def test_the_first_step_that_is_not_finite_stops_it(loop, tmp_path):
    callback, train = loop(folder=tmp_path / "broken")
    with pytest.raises(NonFiniteError, match="step [123]:"):  # the Trainer draws the order of its rows
        train(callback, *data(bad=True))
    assert (tmp_path / "broken" / "about.json").exists()


@pytest.mark.parametrize("module", [lightning, transformers, skorch], ids=lambda module: module.__name__)
def test_a_library_that_is_not_there_is_named(module, monkeypatch):
    base = next(name for name in ("Callback", "TrainerCallback") if hasattr(module, name))
    monkeypatch.setattr(module, base, object)
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\["):
        module.MonitorCallback()
