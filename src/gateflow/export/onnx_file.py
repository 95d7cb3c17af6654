"""A model as the bytes of an ONNX file, its weights as others have them; and the same with integers of 8 bits."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from gateflow.errors import ExportError

__all__ = ["needed", "onnx_bytes", "quantized", "session_of"]

# What protobuf can hold in one message; half of it, since folded weights stand beside their originals for a while.
LARGEST = 1 << 30


def onnx_bytes(
    model: nn.Module,
    args: tuple[Any, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: Any,
    metadata: Mapping[str, str],
) -> bytes:
    """A model as an ONNX file, with weights as its operators take them and no trace of how they were made.

    Args:
        model: any module, in eval mode.
        args: example arguments, as `torch.onnx.export` takes them.
        input_names, output_names: of the file.
        dynamic_shapes: which sizes may vary, as `torch.export.export` takes them.
        metadata: texts that the file carries.

    Raises:
        ExportError: what is needed is not installed, the model is too large for one file, or torch cannot export it.
    """
    onnx, optimizer = needed("onnx"), needed("onnxscript.optimizer")
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if size > LARGEST:
        raise ExportError(
            f"the model has {size >> 20:,} MiB of weights, and one ONNX file can hold {LARGEST >> 20:,}; call "
            "torch.onnx.export yourself, with external_data=True"
        )
    with _quietly():
        try:
            program: Any = torch.onnx.export(
                model,
                args,
                dynamo=True,
                verbose=False,
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=dynamic_shapes,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"torch cannot write this model as ONNX: {_reason(error)}") from error
        # Without a limit of size: weights of ONNX's gates are made of ours by a dozen nodes, once and for all.
        optimizer.fold_constants(program.model, input_size_limit=LARGEST, output_size_limit=LARGEST)
        content = program.model_proto
    onnx.helper.set_model_props(content, dict(metadata))
    return content.SerializeToString()


def quantized(content: bytes) -> bytes:
    """The same model with weights of 8 bits, by ONNX Runtime's own tool for dynamic quantization."""
    tool, model = needed("onnxruntime.quantization"), needed("onnx").load_model_from_string(content)
    with TemporaryDirectory() as folder, _quietly():
        file = Path(folder, "model.onnx")
        # Steps of `Scan` are graphs within the graph, which it leaves alone unless asked.
        tool.quantize_dynamic(model, file, extra_options={"EnableSubgraph": True})
        return file.read_bytes()


def session_of(content: bytes) -> Any:
    """ONNX Runtime's session for a file, on the CPU.

    Raises:
        ExportError: it is not installed.
    """
    runtime = needed("onnxruntime")
    return runtime.InferenceSession(content, providers=["CPUExecutionProvider"])


def needed(module: str) -> Any:
    """A module that comes with the extra `onnx`.

    Raises:
        ExportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        # Not `gateflow[onnx]`: that name on the package index belongs to another project.
        remedy = "pip install onnx onnxscript onnxruntime"
        raise ExportError(f"{package} is not installed, which ONNX needs: {remedy}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch's exporter and its helpers say of themselves, of which a user can do nothing."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _reason(error: BaseException) -> str:
    """What is behind torch's page of advice: the first line of what caused it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip() or 'no further words').splitlines()[0]}"
