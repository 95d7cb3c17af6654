"""Models that are not ours, and batches for them: what `gateflow diagnose --model` is given."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gateflow.errors import ConfigError, DataError
from gateflow.runs.weights import load_weights, read_tensors


def load_model(name: str, seed: int = 0) -> tuple[nn.Module, Any]:
    """What `package.module:factory` or `file.py:factory` makes: a module, or a pair of it and its `loss(model, batch)`.

    The folder that the command runs in is searched too. The factory may also be the module itself.

    Args:
        name: where it is.
        seed: of the weights that the factory draws.

    Raises:
        ConfigError: there is no such thing, or it makes something else.
    """
    place, _, attribute = name.rpartition(":")
    from_file = place.endswith(".py")
    if not attribute or not (from_file or all(part.isidentifier() for part in place.split("."))):
        raise ConfigError(f"--model {name}: write it as my_model.py:build, or as package.module:build.")
    try:
        with torch.random.fork_rng(devices=[]):
            # Once for what the module makes of itself, and again for the factory, whatever the module has drawn.
            torch.manual_seed(seed)
            found = getattr(_of_file(Path(place)) if from_file else _of_module(place), attribute)
            torch.manual_seed(seed)
            made: Any = found if isinstance(found, nn.Module) or not callable(found) else found()
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise ConfigError(f"--model {name}: {error}. It is looked for here and among what is installed.") from error
    model, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module) or not (loss is None or callable(loss)):
        raise ConfigError(f"--model {name} made {made!r:.80}; a torch.nn.Module is needed, or a pair (module, loss).")
    return model, loss


def _of_module(name: str) -> ModuleType:
    _search(Path.cwd())
    return importlib.import_module(name)


def _of_file(path: Path) -> ModuleType:
    """A file as a module of its own name, which may import what lies beside it."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    _search(path.resolve().parent)
    described = importlib.util.spec_from_file_location(path.stem, path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    # Under its name, for a class in it asks for its module there.
    sys.modules[path.stem] = module
    described.loader.exec_module(module)
    return module


def _search(folder: Path) -> None:
    # At the end: a file there must not stand in for a module that is installed.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def read_weights(model: nn.Module, path: Path) -> None:
    """Put trained weights into a model.

    Raises:
        ConfigError: the file is a pickle.
        RunError: the file is missing, damaged, or has other weights than the model.
        NonFiniteError: a weight is NaN or infinite.
    """
    if path.suffix in _PICKLES:
        raise ConfigError(
            f"--weights {path}: {_WHY[path.suffix]}. Where you trust it, write it anew: "
            f'safetensors.torch.save_model(model, "{path.stem}.safetensors").'
        )
    load_weights(model, read_tensors(path)[0], path)


def on_device(name: str) -> torch.device:
    """A device of this machine.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        words = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here: {words}. `gateflow doctor` says what there is."
        ) from None
    return device


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


_PICKLES = (".pt", ".pth", ".pkl", ".bin")
_WHY: dict[str, str] = dict.fromkeys(_PICKLES, "this is a pickle, which could run any code when it is opened")
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
