"""A model's weights as one safetensors file, checked by name, shape and value before the model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gateflow.errors import NonFiniteError, RunError
from gateflow.files import write


def unique_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a tied one once, detached; what a safetensors file can hold.

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> {name: tuple(tensor.shape) for name, tensor in unique_tensors(layer).items()}
        {'weight': (3, 2), 'bias': (3,)}
    """
    first: dict[tuple[int, torch.Size], str] = {}
    tensors = model.state_dict()
    return {name: t for name, t in tensors.items() if first.setdefault((t.data_ptr(), t.shape), name) == name}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all.

    ``save_file`` is no choice here: killed at the wrong moment it leaves a file of random name behind, and what it
    writes is readable by its owner only.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    write(path, content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}); restore it from a copy, or train again.") from None


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors` into the model; `path` is named in the messages.

    Raises:
        RunError: names or shapes are not those of the model.
        NonFiniteError: a weight is NaN or infinite.
    """
    wanted = unique_tensors(model)
    if strangers := sorted(wanted.keys() ^ tensors.keys()):
        where = "lacks" if strangers[0] in wanted else "holds the unknown"
        raise RunError(f"{path} does not fit the run's config.toml: it {where} {strangers[0]}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{list(tensor.shape)}, config.toml asks for {list(wanted[name].shape)}"
            raise RunError(f"{path} does not fit the run's config.toml: {name} is {shapes}.")
        if not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{name} in {path} holds NaN or infinity, so the model cannot be used.")
    model.load_state_dict(dict(tensors), strict=False)
