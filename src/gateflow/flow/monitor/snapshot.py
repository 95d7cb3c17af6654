"""Weights, batch and random state of one step in a folder, without pickle, so that the step can be run again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gateflow.errors import FlowError
from gateflow.files import read_bounded, write

__all__ = ["random_state", "random_state_of", "restore", "save"]

_KINDS: dict[str, type] = {
    "packed": PackedSequence,
    "tuple": tuple,
    "list": list,
}  # in this order: a packed sequence is a tuple

# Of the description of a batch, whose tensors lie elsewhere:
# a folder that was sent by somebody may hold any file.
_MOST_BYTES = 1 << 24

# Before the name of a generator among the tensors. No part
# of a batch begins so: their names begin with "batch".
_GENERATOR = "generator "


def random_state(model: nn.Module) -> dict[str, Tensor]:
    """The generators of the CPU and of the model's devices."""
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    return {"cpu": torch.get_rng_state()} | {f"cuda:{k}": torch.cuda.get_rng_state(k) for k in devices}


@contextlib.contextmanager
def random_state_of(model: nn.Module, generators: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block the generators are where they were."""
    now = random_state(model)
    try:
        _set(generators)
        yield
    finally:
        _set(now)


def _set(generators: Mapping[str, Tensor]) -> None:
    for name, state in generators.items():
        if name == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, name)


def save(folder: Path, model: nn.Module, batch: Any, generators: dict[str, Tensor], about: dict[str, Any]) -> Path:
    """Writes `weights.safetensors`, `step.safetensors` (batch and generators) and `about.json`.

    What is neither tensor, number, text, list, tuple, dictionary nor packed sequence is named, and left out.
    """
    # safetensors and JSON: who is sent the folder of a
    # failed step can open it without running anybody's code.
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {_GENERATOR + name: state for name, state in generators.items()}
    shape = _taken_apart(batch, "batch", tensors)
    write(folder / "weights.safetensors", as_bytes(_apart(model.state_dict())))
    write(folder / "step.safetensors", as_bytes(_apart(tensors)))
    text = json.dumps({**about, "training": model.training, "batch": shape}, indent=1)
    write(folder / "about.json", text)
    return folder


def restore(folder: str | Path, model: nn.Module) -> Any:
    """Puts weights, mode and random state back, and returns the batch: what follows runs as it did.

    Args:
        folder: what a `Monitor` wrote when it stopped.
        model: one that was built as the model of that run.

    Raises:
        FlowError: the folder is not one, or not whole.

    Example:
        >>> import tempfile
        >>> model, batch = nn.LSTM(3, 4), {"x": torch.ones(5, 2, 3)}
        >>> folder = save(Path(tempfile.mkdtemp()), model, batch, random_state(model), {})
        >>> restore(folder, nn.LSTM(3, 4))["x"].shape
        torch.Size([5, 2, 3])
    """
    folder = Path(folder)
    names = ("weights.safetensors", "step.safetensors", "about.json")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FlowError(f"{folder} is not what a Monitor wrote: {', '.join(missing)} is missing")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        about = json.loads(read_bounded(folder / "about.json", _MOST_BYTES))
        tensors, weights = load_file(folder / "step.safetensors"), load_file(folder / "weights.safetensors")
        batch, training = _put_together(about["batch"], tensors, device), bool(about["training"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError, OSError) as error:
        raise FlowError(f"{folder} is damaged ({error!s:.200}); let the Monitor write it again") from None
    # Only now, when all has been read: a damaged folder leaves the model as it was.
    model.load_state_dict(weights)
    model.train(training)
    _set({name.removeprefix(_GENERATOR): state for name, state in tensors.items() if name.startswith(_GENERATOR)})
    return batch


def _apart(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Copies that share no memory, as the format wants them."""
    kept = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in kept.items()}


def _taken_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": {str(k): _taken_apart(v, f"{name}.{k}", tensors) for k, v in value.items()}}
    for kind, cls in _KINDS.items():
        if isinstance(value, cls):
            return {kind: [_taken_apart(v, f"{name}.{k}", tensors) for k, v in enumerate(value)]}
    known = value is None or isinstance(value, bool | int | float | str)
    return {"value": value} if known else {"left out": type(value).__name__}


def _put_together(shape: dict[str, Any], tensors: dict[str, Tensor], device: torch.device) -> Any:
    ((kind, inner),) = shape.items()
    if kind == "tensor":
        return tensors[inner].to(device)
    if kind == "dict":
        return {name: _put_together(part, tensors, device) for name, part in inner.items()}
    if kind in _KINDS:
        parts = [_put_together(part, tensors, device) for part in inner]
        return PackedSequence(*parts) if kind == "packed" else _KINDS[kind](parts)
    return inner if kind == "value" else None
