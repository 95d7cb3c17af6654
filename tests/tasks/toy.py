"""A task from outside of the package: which of two tones came first in a noisy series. It is registered by import path.

It has what a language model lacks: data made out of a seed, a metric of which more is better, no carried state, and
verbs, options and files of its own.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from gateflow.runs.config import ConfigSection, RunConfig
from gateflow.runs.run import Run
from gateflow.tasks.description import Figures, Option, TaskDescription, Verb

PLACE = "tests.tasks.toy:TONES"


class TonesConfig(ConfigSection):
    """The sequences."""

    length: int = Field(default=12, ge=4, description="Steps of a sequence.")
    sequences: int = Field(default=64, ge=1, description="Sequences to learn from.")


class EarConfig(ConfigSection):
    """The network."""

    cell: Literal["gru", "lstm"] = Field(default="gru", description="Layer of torch's.")
    units: int = Field(default=8, ge=1, description="Units.")


class ToyConfig(RunConfig):
    task: Literal["tones"] = "tones"
    data: TonesConfig = TonesConfig()
    model: EarConfig = EarConfig()

    unused: ClassVar = frozenset({"window"})


class ToyRun(Run[ToyConfig]):
    kind: ClassVar = ToyConfig
    own_files: ClassVar = ("scale/tones.txt",)


TONES = TaskDescription(
    name="tones",
    help="Train a toy. Example: `gateflow train tones --out runs/toy`",
    config="tests.tasks.toy:ToyConfig",
    run="tests.tasks.toy:ToyRun",
    set_up="tests.tasks.toy:set_up",
    build="tests.tasks.toy:ToyTask",
    diagnose="tests.tasks.toy:diagnose_run",
    load="tests.tasks.toy:load",
    verbs=(
        Verb(
            "evaluate",
            "How often it hears right. Example: `gateflow evaluate runs/toy`",
            "tests.tasks.toy:evaluate_run",
            (Option("fresh", int, "Sequences to be heard.", default=50, least=1),),
        ),
        Verb("sing", "Say the scale. Example: `gateflow sing runs/toy`", "tests.tasks.toy:sing"),
    ),
    next_steps=("sing {run}",),
    begin="tests.tasks.toy:begin",
    compared="tests.tasks.toy:compared",
)


def batches(config, seed, count):
    """Inputs ``[T, B, 2]`` and which of the two channels sounded first, in batches."""
    import torch

    generator, size = torch.Generator().manual_seed(seed), config.training.batch_size
    for _ in range(count):
        x = 0.1 * torch.randn(config.data.length, size, 2, generator=generator)
        first = torch.randint(0, 2, (size,), generator=generator)
        x[0, torch.arange(size), first] += 2
        x[config.data.length // 2, torch.arange(size), 1 - first] += 2
        yield x, first


def set_up(path, config, *, force=False):
    from gateflow.runs.new_run import new_run
    from gateflow.training.start import begin_run

    with new_run(ToyRun, path, config, force=force) as run:
        (run.path / "scale").mkdir()
        (run.path / "scale" / "tones.txt").write_text("do re mi\n", encoding="utf-8")
        begin_run(run, config, lambda: begin(run, config))
    return ToyRun.open(path)


def begin(run, config):
    return ear(config)


def compared(run, model):
    from torch.nn import functional as F

    from gateflow.tasks.description import Compared
    from gateflow.tasks.diagnosis import horizon_of

    (batch,) = batches(run.config(), 3, 1)
    horizon = horizon_of(model, batch, lambda model, b: F.cross_entropy(model(b[0]), b[1]))
    return Compared(sum(w.numel() for w in model.layer.parameters()), horizon, len(batch[0]) - 1, "sequence")


def ear(config):
    from torch import nn

    class Ear(nn.Module):
        def __init__(self):
            super().__init__()
            layer = getattr(nn, config.model.cell.upper())
            self.layer, self.out = layer(2, config.model.units), nn.Linear(config.model.units, 2)
            self.dropout = nn.Dropout(0.2)

        def forward(self, x):
            return self.out(self.dropout(self.layer(x)[0][-1]))

    return Ear()


def load(run):
    from gateflow.runs.weights import load_weights, read_tensors

    model = ear(run.config())
    load_weights(model, read_tensors(run.model_file)[0], run.model_file)
    return model.eval()


class ToyTask:
    metric = ("accuracy", "max")
    unit = "sequences"

    def __init__(self, run, config, rank=0, world_size=1):
        run.unharmed(run.path / "scale" / "tones.txt", "sing it again")
        self.config, self.model = config, ear(config)

    def start(self):
        return []

    def batches_per_epoch(self):
        return self.config.data.sequences // self.config.training.batch_size

    def batches(self, epoch, start):
        return islice(batches(self.config, 100 + epoch, self.batches_per_epoch()), start, None)

    def loss(self, model, batch, carried):
        from torch.nn import functional as F

        return F.cross_entropy(model(batch[0]), batch[1]), len(batch[1]), None

    def validate(self, model):
        from torch.nn import functional as F

        sums, count = {"loss": 0.0, "accuracy": 0.0}, 0
        for x, first in batches(self.config, 1, 4):
            scores = model(x)
            sums["loss"] += F.cross_entropy(scores, first, reduction="sum").item()
            sums["accuracy"] += (scores.argmax(-1) == first).sum().item()
            count += len(first)
        return sums, count

    def figures(self, means):
        return {}


def evaluate_run(given, fresh):
    import torch

    model, right, count = load(given.run), 0, 0
    with torch.no_grad():
        for x, first in given.track(batches(given.run.config(), 2, fresh), "hearing", fresh):
            right, count = right + (model(x).argmax(-1) == first).sum().item(), count + len(first)
    return Figures({"heard": right / count, "sequences": count}, [f"heard {right / count:.3f}"])


def sing(given):
    text = (given.run.path / "scale" / "tones.txt").read_text(encoding="utf-8").strip()
    return Figures({"scale": text.split()}, [text])


def diagnose_run(run: ToyRun, data: Path | None = None, needed_lag: int | None = None):
    from torch.nn import functional as F

    from gateflow.tasks.diagnosis import diagnose_with_history

    (batch,) = batches(run.config(), 3, 1)
    return diagnose_with_history(
        run, load(run), batch, lambda model, b: F.cross_entropy(model(b[0]), b[1]), needed_lag=needed_lag
    )
