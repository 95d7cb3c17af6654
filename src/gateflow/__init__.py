"""Recurrent networks for PyTorch: write a cell as its equations and train it on real text.

The names below are the public ones; each has a docstring with its equation, shapes and an example. They are imported
when first used, so that the command line answers without waiting for torch. Elsewhere operators are imported at once:
a program that `torch.export` has saved names them, and needs nothing but `import gateflow` to be loaded.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateflow import cells, errors, export, flow, layers, recurrence, remedies
    from gateflow.cells import Cell
    from gateflow.inspector.notebook import inspect
    from gateflow.layers import GRU, LSTM, RNN, LinearChainCRF, Recurrent, safe_globals
    from gateflow.tasks.classifier.estimator import Classifier
    from gateflow.tasks.forecaster.estimator import Forecaster
    from gateflow.tasks.tagger.estimator import Tagger
    from gateflow.tasks.trained import load, save
    from gateflow.tasks.transcriber.estimator import Transcriber
    from gateflow.tasks.translator.estimator import Translator

__version__ = "0.1.0"
__all__ = ["GRU", "LSTM", "RNN", "Cell", "LinearChainCRF", "Recurrent", "cells", "errors", "export", "flow", "layers"]
__all__ += [
    "Classifier",
    "Forecaster",
    "Tagger",
    "Transcriber",
    "Translator",
    "inspect",
    "load",
    "recurrence",
    "remedies",
]
__all__ += ["remedies", "safe_globals", "save"]

_LAYERS = ("GRU", "LSTM", "RNN", "LinearChainCRF", "Recurrent", "safe_globals")
_HOMES = {
    "Cell": "gateflow.cells",
    "Classifier": "gateflow.tasks.classifier.estimator",
    "Forecaster": "gateflow.tasks.forecaster.estimator",
    "Tagger": "gateflow.tasks.tagger.estimator",
    "Transcriber": "gateflow.tasks.transcriber.estimator",
    "Translator": "gateflow.tasks.translator.estimator",
    **dict.fromkeys(("load", "save"), "gateflow.tasks.trained"),
    "inspect": "gateflow.inspector.notebook",
    **dict.fromkeys(_LAYERS, "gateflow.layers"),
}


def _is_command() -> bool:
    """Whether this is the program `gateflow`; the first argument of `python -m gateflow` is still `-m` here."""
    return Path(sys.argv[0] if sys.argv else "").stem in ("gateflow", "-m")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gateflow' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    return import_module(f"gateflow.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if not _is_command():
    import_module("gateflow.recurrence")
