"""A checkpoint: everything that the next update depends on, in one safetensors file.

Tensors are named ``model.*``, ``optimizer.<parameter>.*``, ``random.<process>.*`` and ``carried.<layer>.<state>``;
numbers and counters are JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gateflow.errors import RunError
from gateflow.training.weights import load_weights, read_tensors, unique_tensors, write_tensors

State = list[tuple[Tensor, ...]] | None
"""Carried hidden state: one tuple of ``[B, H]`` tensors per layer and direction, or nothing yet."""


@dataclass
class Progress:
    """How far a run has come: the counters that a checkpoint keeps.

    `window` counts within the epoch, `loss_sum` over `loss_count` targets since the last record.
    """

    step: int = 0
    epoch: int = 0
    window: int = 0
    best: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    targets: int = 0
    seconds: float = 0.0
    interval_seconds: float = 0.0
    clipper: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    Example:
        >>> import tempfile
        >>> model, path = nn.Linear(2, 3), Path(tempfile.mkdtemp()) / "last.safetensors"
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> Checkpoint.of(model, optimizer, Progress(step=7)).write(path)
        >>> Checkpoint.read(path).restore(model, optimizer).step
        7
    """

    tensors: dict[str, Tensor]
    progress: Progress
    optimizer: dict[str, Any]
    processes: int = 1
    path: Path = Path("checkpoint")

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: Optimizer,
        progress: Progress,
        *,
        carried: State = None,
        random: Iterable[Mapping[str, Tensor]] = (),
    ) -> Checkpoint:
        """Collect the state; `carried` is that of the whole batch, `random` has one entry per process."""
        tensors, plain = _split_optimizer(optimizer)
        tensors |= {f"model.{name}": tensor for name, tensor in unique_tensors(model).items()}
        tensors |= {
            f"carried.{i}.{j}": part.clone() for i, layer in enumerate(carried or []) for j, part in enumerate(layer)
        }
        random = list(random)
        tensors |= {f"random.{i}.{name}": part for i, states in enumerate(random) for name, part in states.items()}
        return cls(tensors, progress, plain, max(1, len(random)))

    def write(self, path: Path) -> None:
        """Replace the previous checkpoint in one step."""
        path.parent.mkdir(exist_ok=True)
        plain = {"progress": asdict(self.progress), "optimizer": self.optimizer, "processes": self.processes}
        write_tensors(path, self.tensors, {"gateflow": json.dumps(plain)})

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """A checkpoint as it was written.

        Raises:
            RunError: the file is missing, damaged, or no checkpoint.
        """
        tensors, metadata = read_tensors(path)
        try:
            plain = json.loads(metadata["gateflow"])
            return cls(tensors, Progress(**plain["progress"]), plain["optimizer"], plain["processes"], path)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is no checkpoint of gateflow ({error!r}).") from None

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Progress:
        """Put model and optimizer into the state they had.

        Raises:
            RunError: the tensors are not those of this model and optimizer.
            NonFiniteError: a weight is NaN or infinite.
        """
        load_weights(model, self.named("model"), self.path)
        _join_optimizer(optimizer, self.named("optimizer"), self.optimizer)
        return self.progress

    def named(self, group: str) -> dict[str, Tensor]:
        """The tensors of one group, without its prefix."""
        return {name.removeprefix(f"{group}."): t for name, t in self.tensors.items() if name.startswith(f"{group}.")}

    def random(self, process: int) -> dict[str, Tensor]:
        """The state of the random generators of one process."""
        return self.named(f"random.{process}")

    def carried(self) -> State:
        """The carried hidden state of the whole batch."""
        layers: dict[int, dict[int, Tensor]] = {}
        for name, tensor in self.named("carried").items():
            layer, part = map(int, name.split("."))
            layers.setdefault(layer, {})[part] = tensor
        return [tuple(parts[j] for j in sorted(parts)) for _, parts in sorted(layers.items())] or None


def random_state() -> dict[str, Tensor]:
    """The state of torch's generators in this process: CPU, and the current CUDA device if there is one."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor]) -> None:
    """Continue torch's generators from `states`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _split_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by name, and the rest, which is JSON."""
    whole = optimizer.state_dict()
    entries = [(f"{i}.{name}", value) for i, state in whole["state"].items() for name, value in state.items()]
    tensors = {f"optimizer.{name}": value for name, value in entries if isinstance(value, Tensor)}
    plain = {name: value for name, value in entries if not isinstance(value, Tensor)}
    return tensors, {"state": plain, "groups": whole["param_groups"]}


def _join_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **plain["state"]}.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    try:
        optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
    except (KeyError, ValueError) as error:
        raise RunError(f"the checkpoint's optimizer does not fit the run's config.toml ({error}).") from None
