"""Whether what runs now is to leave Python: then layers are made of operators that others have too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch

from gateflow.errors import ExportError

__all__ = ["leaves_for_onnx", "leaves_python", "portable", "refuse_to_leave"]

# Of the process, as torch's own mark of an export is; and a number, which torch's compiler can read.
_blocks = 0


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
    global _blocks
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1


def leaves_python() -> bool:
    """Whether an export is at work whose result must not need gateflow.

    Example:
        >>> with portable():
        ...     leaves_python()  # no export yet
        False
    """
    # First what costs nothing: this is asked at each call of a layer.
    return torch.compiler.is_exporting() and (_blocks > 0 or leaves_for_onnx())


def leaves_for_onnx() -> bool:
    """Whether `torch.onnx.export` is at work."""
    # `strict=True` is traced by dynamo, which cannot read on; torch's exporter for ONNX does without.
    if torch.compiler.is_dynamo_compiling() or not torch.compiler.is_exporting():
        return False
    # Where nobody has imported it, nobody exports by it, and torch would import it only to say so.
    return "torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()


def refuse_to_leave(name: str) -> None:
    """Says what cannot take our operator along, before it makes a package that fails when it is run.

    Raises:
        ExportError: AOTInductor, or torch's exporter for ONNX, is at work on a program that holds it.
    """
    # Loaded by AOTInductor itself; whoever has not is not packing.
    inductor: Any = sys.modules.get("torch._inductor.virtualized")
    packs = inductor is not None and inductor.V.aot_compilation
    # A model leaves without our operator: what comes here was an exported program already.
    if packs or ("torch.onnx" in sys.modules and torch.onnx.is_in_onnx_export()):
        who = "AOTInductor cannot pack" if packs else "ONNX does not know"
        raise ExportError(
            f"{who} gateflow's operator, by which {name} runs in this exported program; export the model again within "
            "`with gateflow.export.portable():`"
        )
