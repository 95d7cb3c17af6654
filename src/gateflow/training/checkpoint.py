"""A checkpoint: everything that the next update depends on, in one safetensors file.

Tensors are named ``model.*``, ``average.*``, ``optimizer.<parameter>.*``, ``random.<process>.*`` and
``carried.<layer>.<state>``;
numbers and counters are JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from gateflow.errors import RunError
from gateflow.runs.fit import (
    refuse_other_carried,
    refuse_other_optimizer,
    refuse_other_random,
    shown,
    specs_of,
)
from gateflow.runs.lasting import UNTOLD, MadeBy
from gateflow.runs.weights import Header, load_weights, read_tensors, unique_tensors, write_tensors

# Carried hidden state: one tuple of ``[B, H]`` tensors per layer and direction, or nothing yet.
State = list[tuple[Tensor, ...]] | None

# The hidden state that an epoch starts from; a carried one has the same layers, parts, sizes and types.
Start = Sequence[tuple[Tensor, ...]]

# Adam takes the root of the last two, and divides by a power of the first: below 0 they would give NaN.
NEVER_NEGATIVE = ("step", "exp_avg_sq", "max_exp_avg_sq")
# Whatever begins otherwise is not ours: a file with more in it was made by somebody else.
GROUPS = ("model.", "average.", "optimizer.", "random.", "carried.")
# Numbers out of a file: JSON has integers of any size, and one of a million digits takes minutes to compute with.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0)]
# Strict: "3" is no 3 and 3.0 no count. NaN is refused too, which Python's JSON reads though no standard has it.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Clipper(BaseModel):
    """What `NormClipper.state_dict` gives."""

    model_config = _STRICT
    steps: Count = 0
    clipped: Count = 0
    skipped: Count = 0
    # By aliases, since pydantic takes a name with an underscore for a private one.
    skipped_in_a_row: Count = Field(0, alias="_skipped_in_a_row")
    shrink_sum: Amount = Field(0.0, alias="_shrink_sum")
    norms: list[Amount] = []


def _of_a_clipper(state: dict[str, Any]) -> dict[str, Any]:
    _Clipper.model_validate(state)
    return state


@dataclass
class Progress:
    """How far a run has come: the counters that a checkpoint keeps.

    `batch` counts within the epoch, `loss_sum` over `loss_count` targets since the last record. `best` is the best
    value of the task's metric, `best_loss` the loss with it, `stale` the number of validations since then. `cut` is how
    the data were cut into the batches that `batch` counts. `seconds` are those of updates alone, `elapsed` all that
    have passed while the run was set up and trained.
    """

    __pydantic_config__ = _STRICT
    step: Count = 0
    epoch: Count = 0
    batch: Count = 0
    best: float | None = None
    best_loss: float | None = None
    stale: Count = 0
    loss_sum: float = 0.0
    loss_count: Count = 0
    targets: Count = 0
    seconds: Amount = 0.0
    interval_seconds: Amount = 0.0
    elapsed: Amount = 0.0
    clipper: Annotated[dict[str, Any], AfterValidator(_of_a_clipper)] = field(default_factory=dict)
    cut: dict[str, Count] = field(default_factory=dict)


# Counters of older versions, and what they are called now; and what they did not write down.
_FORMERLY = {"window": "batch"}
_NEWER = {"cut", "stale", "best_loss", "elapsed"}


def _with_every_field(found: Any) -> Any:
    if isinstance(found, dict):
        found = {_FORMERLY.get(name, name): value for name, value in found.items()}
    # Each has a default for a new run, and of a checkpoint that lacks one no part can be trusted.
    missing = [
        entry.name for entry in fields(Progress) if isinstance(found, dict) and entry.name not in {*found, *_NEWER}
    ]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return found


class _Metadata(BaseModel):
    """What a checkpoint holds apart from tensors. The optimizer's groups come from config.toml instead."""

    model_config = _STRICT
    progress: Annotated[Progress, BeforeValidator(_with_every_field)]
    optimizer: dict[str, Any]
    processes: Annotated[int, Field(ge=1, lt=1 << 20)]
    multiplier: Annotated[str, Field(max_length=40)] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    `multiplier` is that of the back end, on which the last bits of runs in bfloat16 depend; `made_by` is what the
    network was made by.

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
    multiplier: str | None = None
    made_by: MadeBy = UNTOLD

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: Optimizer,
        progress: Progress,
        *,
        carried: State = None,
        random: Iterable[Mapping[str, Tensor]] = (),
        average: Mapping[str, Tensor] | None = None,
        multiplier: str | None = None,
        made_by: MadeBy = UNTOLD,
    ) -> Checkpoint:
        """Collect the state; `carried` is that of the whole batch, `random` has one entry per process."""
        tensors, plain = _split_optimizer(optimizer)
        tensors |= {f"average.{name}": tensor.clone() for name, tensor in (average or {}).items()}
        tensors |= {f"model.{name}": tensor for name, tensor in unique_tensors(model).items()}
        tensors |= {
            f"carried.{i}.{j}": part.clone() for i, layer in enumerate(carried or []) for j, part in enumerate(layer)
        }
        random = list(random)
        tensors |= {f"random.{i}.{name}": part for i, states in enumerate(random) for name, part in states.items()}
        return cls(tensors, progress, plain, max(1, len(random)), multiplier=multiplier, made_by=made_by)

    def write(self, path: Path) -> None:
        """Replace the previous checkpoint in one step."""
        # A new run has no folder of checkpoints yet.
        path.parent.mkdir(exist_ok=True)
        plain = {"progress": asdict(self.progress), "optimizer": self.optimizer, "processes": self.processes}
        plain |= {} if self.multiplier is None else {"multiplier": self.multiplier}
        write_tensors(path, self.tensors, {"gateflow": json.dumps(plain), **self.made_by.metadata()})

    @classmethod
    def read(cls, path: Path, fits: Callable[[Header, int], None] = lambda _, __: None) -> Checkpoint:
        """A checkpoint as it was written.

        Args:
            path: the file.
            fits: raises where the header, or the number of processes, is not the one expected; it is asked before
                memory is taken for the tensors.

        Raises:
            RunError: the file is missing, damaged, or no checkpoint.
        """

        def look(header: Header) -> None:
            # Before memory is taken for them: a header of a kilobyte can announce a terabyte.
            if strangers := [name for name in header.tensors if not name.startswith(GROUPS)]:
                raise RunError(f"{path} is no checkpoint of gateflow: it holds the unknown {shown(strangers[0])}.")
            fits(header, _metadata(header.metadata, path).processes)

        tensors, metadata = read_tensors(path, look)
        plain = _metadata(metadata, path)
        return cls(
            tensors, plain.progress, plain.optimizer, plain.processes, path, plain.multiplier, MadeBy.read(metadata)
        )

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Progress:
        """Put model and optimizer into the state they had.

        Raises:
            RunError: the tensors are not those of this model and optimizer.
            NonFiniteError: a weight is NaN or infinite.
        """
        load_weights(model, self.named("model"), self.path)
        self._restore_optimizer(optimizer)
        return self.progress

    def _restore_optimizer(self, optimizer: Optimizer) -> None:
        """Its states by parameter. Rates and the like stay those of `optimizer`, which config.toml has made."""
        tensors = self.named("optimizer")
        refuse_other_optimizer(specs_of(tensors), optimizer, self.path)
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            index, key = name.split(".", 1)
            # A second moment below 0 passes every check of shapes, and gives NaN after one update.
            self._refuse_other_values(f"optimizer.{name}", tensor, least=0 if key in NEVER_NEGATIVE else None)
            state.setdefault(int(index), {})[key] = tensor
        # What the user has changed in config.toml counts: rates are taken from there, not from the file.
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def _refuse_other_values(self, name: str, tensor: Tensor, least: float | None = None) -> None:
        if not torch.isfinite(tensor).all() or (least is not None and bool((tensor < least).any())):
            raise RunError(f"{self.path} is damaged: {name} holds numbers that no training leads to.")

    def named(self, group: str) -> dict[str, Tensor]:
        """The tensors of one group, without its prefix."""
        return {name.removeprefix(f"{group}."): t for name, t in self.tensors.items() if name.startswith(f"{group}.")}

    def random(self, process: int) -> dict[str, Tensor]:
        """The state of the random generators of one process.

        Raises:
            RunError: it is missing, or none.
        """
        refuse_other_random(specs_of(self.named("random")), self.processes, specs_of(random_state()), self.path)
        # A new run has none yet, and asks for none.
        if states := self.named(f"random.{process}"):
            return states
        raise RunError(f"{self.path} is damaged: it lacks the state of the random generators.")

    def average(self) -> dict[str, Tensor]:
        """The averaged weights; none where nothing was averaged.

        Raises:
            RunError: one is not finite.
        """
        averages = self.named("average")
        for name, tensor in averages.items():
            self._refuse_other_values(f"average.{name}", tensor)
        return averages

    def carried(self, like: Start) -> State:
        """The carried hidden state of the whole batch, which is `processes` times as large as `like`.

        Raises:
            RunError: it has other layers, parts, sizes or types than `like`, or is not finite.
        """
        parts = self.named("carried")
        refuse_other_carried(specs_of(parts), rows_of(like, self.processes), like, self.path)
        for name, tensor in parts.items():
            self._refuse_other_values(f"carried.{name}", tensor)
        if not parts:
            return None
        # In the order of `like`: names sort as texts, so that layer 10 would come before layer 2.
        return [tuple(parts[f"{i}.{j}"] for j in range(len(layer))) for i, layer in enumerate(like)]


def _metadata(metadata: Mapping[str, str], path: Path) -> _Metadata:
    try:
        return _Metadata.model_validate_json(metadata.get("gateflow", "{}"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = shown(".".join(map(str, first["loc"])))
        raise RunError(f"{path} is no checkpoint of gateflow ({where}: {first['msg'].lower()}).") from None


def rows_of(start: Start, processes: int) -> int:
    """The rows of a whole batch whose carried state begins as `start` in each process; 0 where none is carried."""
    return processes * len(start[0][0]) if start else 0


def random_state() -> dict[str, Tensor]:
    """The state of torch's generators in this process: CPU, and the current CUDA device if there is one."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        # Of the current device alone: a process trains on one.
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor], path: Path) -> None:
    """Continue torch's generators from `states`, which come from the file `path`.

    Raises:
        RunError: a generator refuses its state.
    """
    try:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
    except RuntimeError as error:
        raise RunError(f"{path} is damaged: its random state is none ({str(error).splitlines()[0]}).") from None


def _split_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by name, and the rest, which is JSON."""
    whole = optimizer.state_dict()
    # By the number of the parameter, as torch's state_dict has it.
    entries = [(f"{i}.{name}", value) for i, state in whole["state"].items() for name, value in state.items()]
    tensors = {f"optimizer.{name}": value for name, value in entries if isinstance(value, Tensor)}
    plain = {name: value for name, value in entries if not isinstance(value, Tensor)}
    return tensors, {"state": plain, "groups": whole["param_groups"]}
