"""Whether what runs now is to leave Python: then layers are made of operators that others have too."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Iterator

import torch

__all__ = ["leaves_for_onnx", "leaves_python", "portable"]

# Of the context, so that a block in one thread changes no export in another.
_portable: contextvars.ContextVar[bool] = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Within the block `torch.export.export` writes our layers as operators of torch alone.

    A program that is exported outside of such a block holds operators of gateflow, which are faster, and need gateflow
    wherever it is loaded. Layers become torch's `scan`; nothing else in a model changes. `torch.onnx.export` needs no
    such block.

    Example:
        >>> import gateflow
        >>> layer, x = gateflow.LSTM(3, 4).eval(), torch.zeros(5, 2, 3)
        >>> with portable():
        ...     program = torch.export.export(layer, (x,))
        >>> any("gateflow" in str(node.target) for node in program.graph.nodes)
        False
    """
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def leaves_python() -> bool:
    """Whether an export is at work whose result must not need gateflow.

    Example:
        >>> with portable():
        ...     leaves_python()  # no export yet
        False
    """
    # First what costs nothing: this is asked at each call of a layer.
    return torch.compiler.is_exporting() and (_portable.get() or leaves_for_onnx())


def leaves_for_onnx() -> bool:
    """Whether `torch.onnx.export` is at work."""
    # It is no attribute of `torch` until somebody has imported it, and then this is not that export.
    return torch.compiler.is_exporting() and "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()
