"""What torch's compiler is told of ours once a program loads it: loading it takes a second, which most never need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import torch

__all__ = ["constant_result", "when_loaded"]

P = ParamSpec("P")
R = TypeVar("R")

_DYNAMO = "torch._dynamo"
_waiting: list[Callable[[], object]] = []


def when_loaded(tell: Callable[[], object]) -> None:
    """Calls `tell` when torch's compiler has been loaded: now, or at the end of its import.

    Example:
        >>> import torch._dynamo
        >>> when_loaded(lambda: print("it is there"))
        it is there
    """
    # A module that is being imported is in `sys.modules` before it can be used.
    if _DYNAMO in sys.modules and not _waiting:
        tell()
    else:
        _waiting.append(tell)


def constant_result(function: Callable[P, R]) -> Callable[P, R]:
    """`torch.compiler.assume_constant_result`, which loads torch's compiler, said when that is loaded."""
    when_loaded(lambda: torch.compiler.assume_constant_result(function))
    return function


class _Watch(MetaPathFinder):
    """Finds torch's compiler as Python does, and notices the end of its import, of which Python tells nobody."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != _DYNAMO:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        return _told_after(spec) if spec is not None and spec.loader is not None else spec


def _told_after(spec: ModuleSpec) -> ModuleSpec:
    loader: Any = spec.loader
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        while _waiting:
            _waiting.pop()()

    loader.exec_module = exec_module
    return spec


if _DYNAMO not in sys.modules:
    sys.meta_path.insert(0, _Watch())
