"""Models that are not ours, and batches for them: what `gateflow diagnose --model` is given."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gateflow.errors import ConfigError, DataError


def load_model(name: str) -> tuple[nn.Module, Any]:
    """What `package.module:factory` makes: a module, or a pair of a module and its `loss(model, batch)`.

    The folder that the command runs in is searched too. The factory may also be the module itself.

    Raises:
        ConfigError: there is no such thing, or it makes something else.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or not attribute:
        raise ConfigError(f"--model {name}: write it as package.module:factory, such as my_model:build.")
    if (here := str(Path.cwd())) not in sys.path:
        # At the end: a file here must not stand in for a module that is installed.
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--model {name}: {error}. It is looked for here and among what is installed.") from error
    made: Any = found if isinstance(found, nn.Module) or not callable(found) else found()
    model, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module) or not (loss is None or callable(loss)):
        raise ConfigError(f"--model {name} made {made!r:.80}; a torch.nn.Module is needed, or a pair (module, loss).")
    return model, loss


def read_batch(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name; the one array of a .npy file is called `x`.

    Raises:
        DataError: the file is missing, damaged, or of another kind.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist. Give a .safetensors or .npy file with one batch for the model.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npy":
        return {"x": _array(path)}
    raise DataError(f"{path}: {_WHY.get(path.suffix, 'a batch is a .safetensors or .npy file')}. {_HOW}")


_WHY: dict[str, str] = dict.fromkeys(
    (".pt", ".pth", ".pkl"), "this is a pickle, which could run any code when it is opened"
)
_WHY[".txt"] = "only its maker knows which numbers a model of another kind reads a text as"
_HOW = 'Write the batch with safetensors.torch.save_file({"x": x}, "batch.safetensors").'


def as_arguments(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names the tensors as the model's `forward` does: `x` is its first argument, the others have its names.

    Raises:
        DataError: the model takes no argument of such a name.
    """
    parameters = inspect.signature(model.forward).parameters
    first = next(iter(parameters), "x")
    named = {first if name == "x" else name: tensor for name, tensor in tensors.items()}
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()) and named.keys() - parameters:
        strangers = ", ".join(sorted(named.keys() - parameters))
        raise DataError(
            f"the data hold {strangers}, and {type(model).__name__} takes {', '.join(parameters)}. Leave them out, or "
            "let the factory return (model, loss) with loss(model, batch), which may use every tensor as batch[name]."
        )
    return named


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            # Cloned: the tensors are views of the mapped file, which is closed here.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged, or no safetensors file ({error}). Write it again.") from None


def _array(path: Path) -> Tensor:
    try:
        # An array of objects is a pickle.
        array: Any = np.load(path, allow_pickle=False)
        return torch.from_numpy(array)
    except (ValueError, OSError, TypeError) as error:
        raise DataError(f"{path} is damaged, or holds no numbers ({error}). Write it again with numpy.save.") from None
