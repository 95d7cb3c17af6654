"""Whether what a file holds is what the run would have written itself: names, types and shapes, before any is read.

A header of a kilobyte can announce a terabyte, and an operator that is given another shape than it believes may take
the process with it. So each file is compared with what the run's configuration asks for, first.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gateflow.errors import RunError

Specs = Mapping[str, "Spec"]


class Spec(NamedTuple):
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Spec:
        """Those of a tensor.

        Example:
            >>> str(Spec.of(torch.zeros(2, 3)))
            'float32 [2, 3]'
        """
        return cls(tensor.dtype, tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} {list(self.shape)}"

    def compared_with(self, other: Spec) -> tuple[str, str]:
        """Both in words, by their shapes alone where their types agree."""
        if self.dtype == other.dtype:
            return str(list(self.shape)), str(list(other.shape))
        return str(self), str(other)


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, Spec]:
    """Type and shape of each tensor."""
    return {name: Spec.of(tensor) for name, tensor in tensors.items()}


def refuse_other_specs(found: Specs, wanted: Specs, path: Path) -> None:
    """Refuse all but the tensors that config.toml asks for.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Sorted, so that the same damage always gives the same message.
    if strangers := sorted(wanted.keys() ^ found.keys()):
        where = "lacks" if strangers[0] in wanted else "holds the unknown"
        raise RunError(f"{path} does not fit the run's config.toml: it {where} {shown(strangers[0])}.")
    for name, spec in wanted.items():
        if found[name] != spec:
            is_, asked = found[name].compared_with(spec)
            why = _of_another_default(found[name], spec)
            raise RunError(
                f"{path} does not fit the run's config.toml: {name} is {is_}, config.toml asks for {asked}{why}."
            )


def _of_another_default(found: Spec, wanted: Spec) -> str:
    """No config.toml speaks of types: networks are made of torch's default one, which a program may have set."""
    if found.shape != wanted.shape or not (found.dtype.is_floating_point and wanted.dtype.is_floating_point):
        return ""
    return f" where torch.get_default_dtype() is {torch.get_default_dtype()}: set it as it was when the run was trained"


def refuse_other_optimizer(found: Specs, optimizer: Optimizer, path: Path) -> None:
    """Refuse all but what this optimizer keeps: for each parameter everything or, before its first step, nothing.

    Raises:
        RunError: something is missing, unknown, of another type or of another shape.
    """
    kept, parameters = kept_by(optimizer), [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        # Each state is either as large as the parameter, or one number for it.
        wanted = {f"{i}.{name}": Spec.of(parameter) if like else scalar for name, (like, scalar) in kept.items()}
        own = {name: spec for name, spec in found.items() if name.startswith(f"{i}.")}
        # A parameter that never had a gradient has no states.
        if own:
            _refuse_other_states(own, wanted, path)
    if strangers := sorted(name for name in found if name.partition(".")[0] not in map(str, range(len(parameters)))):
        raise _other_optimizer(path, f"it holds {shown(strangers[0])}")


def refuse_other_carried(found: Specs, rows: int, like: Sequence[tuple[Tensor, ...]], path: Path) -> None:
    """Refuse a carried hidden state that is not of these layers and so many rows; none at all will do.

    A part ``[B, S, H]`` is a cache of steps, which holds up to `S` of them, as many in each part.

    Raises:
        RunError: a part is missing, unknown, of another type or of another shape.
    """
    steps = next((spec.shape[1] for spec in found.values() if len(spec.shape) == 3), 0)
    wanted = {
        f"{i}.{j}": Spec(part.dtype, (rows, *_held(part, steps)))
        for i, layer in enumerate(like)
        for j, part in enumerate(layer)
    }
    if found and found != wanted:
        name = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))[0]
        raise RunError(
            f"{path} does not fit the run's config.toml: the carried state {shown(name)} is "
            f"{found.get(name, 'missing')}, asked for is {wanted.get(name, 'no such part')}. "
            "Give config.toml the batch_size and the layers back that it had."
        )


def _held(part: Tensor, steps: int) -> tuple[int, ...]:
    """The sizes of a row of a carried part, of a cache with so many steps if it may hold them."""
    sizes = tuple(part.shape[1:])
    return sizes if len(sizes) < 2 else (min(steps, sizes[0]), *sizes[1:])


def refuse_other_random(found: Specs, processes: int, wanted: Specs, path: Path) -> None:
    """Refuse states of random generators that no generator has, where there are any.

    Raises:
        RunError: that of a process is missing, or one is unknown, of another type or of another size.
    """
    cpus = {f"{i}.cpu" for i in range(processes)}
    gpus = {f"{i}.cuda" for i in range(processes)}
    for name in found.keys() | (cpus if found else set()):
        spec = found.get(name)
        # 16 bytes are CUDA's generator, whose state is a seed and an offset; that of the CPU is some 5,000.
        small = spec is not None and spec.dtype == torch.uint8 and spec.shape in ((16,), (wanted["cpu"].shape[0],))
        if not small or name not in cpus | gpus or (name in cpus and spec != wanted["cpu"]):
            raise RunError(f"{path} is damaged: what it holds as random.{shown(name)} is no generator's state.")


def kept_by(optimizer: Optimizer) -> dict[str, tuple[bool, Spec]]:
    """What an optimizer keeps for each parameter once it has stepped: as large as the parameter, or a number of a type.

    It is asked by letting a copy of it take a step with a parameter of its own.

    Example:
        >>> sorted(kept_by(torch.optim.Adam(nn.Linear(2, 3).parameters())))
        ['exp_avg', 'exp_avg_sq', 'step']
    """
    # A shallow copy with states and parameters of its own: what kind of optimizer it is, and its options, stay.
    trial = copy.copy(optimizer)
    trial.state = defaultdict(dict)
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.zeros(2, 3)
    trial.param_groups = [{**optimizer.param_groups[0], "params": [parameter]}]
    trial.step()
    states = {name: value for name, value in trial.state[parameter].items() if isinstance(value, Tensor)}
    return {name: (value.shape == parameter.shape, Spec.of(value)) for name, value in states.items()}


def shown(name: str) -> str:
    """A name out of a file, as a message may hold it."""
    # A name out of a file may hold a terminal's escapes, or be a megabyte long.
    return name if name.isprintable() and len(name) <= 80 else f"{name!r:.80}"


def _refuse_other_states(found: Specs, wanted: Specs, path: Path) -> None:
    if strangers := sorted(wanted.keys() ^ found.keys()):
        where = "lacks" if strangers[0] in wanted else "holds"
        raise _other_optimizer(path, f"it {where} {shown(strangers[0])}")
    for name, spec in wanted.items():
        if found[name] != spec:
            raise _other_optimizer(path, f"{name} is {found[name]}, the optimizer keeps {spec}")


def _other_optimizer(path: Path, why: str) -> RunError:
    return RunError(f"{path}: the checkpoint's optimizer does not fit the run's config.toml ({why}).")
