"""Weights of an ONNX file's recurrent operator as a layer of ours; what the file says is checked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gateflow.cells.onnx_equivalents import ONNX_EQUIVALENTS, OnnxEquivalent
from gateflow.cells.registry import name_of
from gateflow.errors import ExportError
from gateflow.export.layer_of_weights import checked, layer_of_weights
from gateflow.export.onnx_file import needed
from gateflow.files import open_ordinary
from gateflow.layers import Recurrent

__all__ = ["from_onnx"]

OPERATORS = ("RNN", "GRU", "LSTM")
LARGEST, DEEPEST = 1 << 28, 8
"""Numbers of a weight that is joined from others, and joins of joins; torch's exporter makes three."""
# Of the operators that one cell computes the first is taken: an LSTM with no peepholes is `lstm`, and not `np`.
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def from_onnx(file: str | Path, node: str | None = None) -> Recurrent:
    """The layer that an `RNN`, `GRU` or `LSTM` of an ONNX file computes, with its weights.

    Args:
        file: the ONNX file; weights that lie in files beside it are read from its folder and from nowhere else.
        node: the operator's name; may be left out where there is one.

    Returns:
        A `Recurrent` of one layer, `elman`, `elman_relu`, `gru`, `full_gru`, `lstm` or `peephole_lstm`, of float32 or
        float64, in both directions where the operator has them; batch first where its `layout` is 1.

    Raises:
        ExportError: there is no such operator; it clips, couples gates, has other activations or reads backwards alone;
            its weights are computed, damaged, or lie elsewhere. Or `onnx` is not installed.

    Example:
        >>> import numpy as np, pytest, tempfile
        >>> onnx = pytest.importorskip("onnx", reason="needs onnx")
        >>> weights = {"W": np.ones((1, 4, 3), "f4"), "R": np.ones((1, 4, 4), "f4")}
        >>> node = onnx.helper.make_node("RNN", ["x", *weights], ["y"], hidden_size=4, name="rnn")
        >>> tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     graph = onnx.helper.make_graph([node], "one", [], [], tensors)
        ...     onnx.save(onnx.helper.make_model(graph), f"{folder}/rnn.onnx")
        ...     layer = from_onnx(f"{folder}/rnn.onnx")
        >>> type(layer.cells[0]).__name__, layer.weight_ih_l0.shape
        ('Elman', torch.Size([4, 3]))
    """
    onnx, damaged, path = needed("onnx"), needed("google.protobuf.message").DecodeError, Path(file)
    try:
        with open_ordinary(path) as opened:
            # Not `onnx.load`, which would follow whatever paths the file names.
            graph = onnx.load_model_from_string(opened.read()).graph
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
    except (damaged, ValueError) as error:
        raise ExportError(f"{path} is no ONNX file, or is damaged: {error}") from error
    found = _node(graph, node, path)
    return _Operator(found, _Weights(graph, path), f"{found.op_type} {found.name!r} of {path}").layer()


def _node(graph: Any, name: str | None, path: Path) -> Any:
    nodes = [each for each in graph.node if each.op_type in OPERATORS and each.domain in ("", "ai.onnx")]
    chosen = [each for each in nodes if name in (None, each.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(repr(each.name) for each in nodes)
    if not nodes:
        raise ExportError(f"{path} has no {', '.join(OPERATORS)}; other cells are written as Scan, which has no gates")
    if name is None:
        raise ExportError(f"{path} has {len(nodes)} recurrent operators; name one of {names}")
    raise ExportError(f"{path} has {len(chosen)} recurrent operators called {name!r}; there are {names}")


class _Weights:
    """The weights of a file, by name."""

    def __init__(self, graph: Any, path: Path):
        self.onnx, self.path = needed("onnx"), path
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        constants = [each for each in graph.node if each.op_type == "Constant" and each.output]
        self.tensors |= {each.output[0]: a.t for each in constants for a in each.attribute if a.name == "value"}
        self.arrays: dict[str, Any] = {}
        self.makers = {output: each for each in graph.node for output in each.output}

    def __getitem__(self, name: str) -> Any:
        return self._array(name, depth=0)

    def _array(self, name: str, depth: int) -> Any:
        """A weight, computed where torch's exporter has left cuts and joins of weights in the graph."""
        if name not in self.arrays:
            known = self.tensors.get(name)
            self.arrays[name] = self._moved(name, depth) if known is None else self._read(known)
        return self.arrays[name]

    def _moved(self, name: str, depth: int) -> Any:
        maker = self.makers.get(name)
        if maker is None or maker.op_type not in _MOVES or depth > DEEPEST:
            how = f"the operator {maker.op_type} computes it" if maker else "it is an input of the model"
            raise ExportError(f"the weight {name!r} of {self.path} is no constant: {how}; fold constants first")
        inputs = [self._array(each, depth + 1) for each in maker.input if each]
        # A few joins of joins would be more than there is memory.
        if sum(each.size for each in inputs) > LARGEST:
            raise ExportError(f"the weight {name!r} of {self.path} is joined from more than {LARGEST:,} numbers")
        read = self.onnx.helper.get_attribute_value
        try:
            return _MOVES[maker.op_type](*inputs, **{each.name: read(each) for each in maker.attribute})
        except (TypeError, ValueError, IndexError) as error:  # whatever numpy says of axes and sizes that cannot be
            raise ExportError(f"the weight {name!r} of {self.path} is damaged: {error}") from error

    def _read(self, tensor: Any) -> Any:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            tensor = self._beside(tensor)
        try:
            return self.onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise ExportError(f"the weight {tensor.name!r} of {self.path} is damaged: {error}") from error

    def _beside(self, tensor: Any) -> Any:
        """The tensor with its numbers, which lie in a file of the same folder."""
        told = {entry.key: entry.value for entry in tensor.external_data}
        folder, place = self.path.resolve().parent, told.get("location", "")
        beside = (folder / place).resolve()
        what = f"the weight {tensor.name!r} of {self.path}"
        # Links are followed before they are judged: a path that leaves the folder could name any file of the user's.
        if not place or folder not in beside.parents:
            raise ExportError(f"{what} lies in {place!r}, outside of the file's folder, and is not read")
        try:
            offset, length = int(told.get("offset", 0)), int(told["length"])
            with open_ordinary(beside) as file:
                file.seek(offset)
                content = file.read(min(length, beside.stat().st_size))
        except (OSError, ValueError, KeyError) as error:
            raise ExportError(f"{what} cannot be read from {beside}: {error}") from error
        return self.onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=content)


def _slice(data: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    axes = range(len(starts)) if axes is None else axes
    cuts = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, [1] * len(starts) if steps is None else steps, strict=True):
        cuts[axis] = slice(start, end, step)
    return data[tuple(cuts)]


# What moves numbers about, and nothing else.
_MOVES: Mapping[str, Any] = {
    "Slice": _slice,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis=axis),
    "Unsqueeze": lambda data, axes: np.expand_dims(data, tuple(axes)),
    "Neg": lambda data: -data,
    "Identity": lambda data: data,
}


class _Operator:
    """One recurrent operator, read."""

    def __init__(self, node: Any, weights: _Weights, what: str):
        self.kind, self.what, self.weights = node.op_type, what, weights
        read = weights.onnx.helper.get_attribute_value
        self.attributes = {each.name: read(each) for each in node.attribute}
        self.inputs = [*node.input, *[""] * 8][:8]  # X W R B lengths h c P, of which those at the end may be missing

    def layer(self) -> Recurrent:
        known, D = self._equivalent(), 2 if self._text("direction", "forward") == "bidirectional" else 1
        rows, H = len(known.gates), self._hidden_size()
        shapes: list[Sequence[int | None]] = [(D, rows * H, None), (D, rows * H, H), (D, 2 * rows * H), (D, 3 * H)]
        places = zip("WRBP", (1, 2, 3, 7), shapes, strict=True)
        found = {
            n: checked(self.weights[self.inputs[k]], s, f"{n} of {self.what}") for n, k, s in places if self._has(k)
        }
        if not {"W", "R"} <= found.keys():
            raise ExportError(f"{self.what} has no weights")
        directions = [_named(known, {n: each[d] for n, each in found.items()}) for d in range(D)]
        return layer_of_weights(name_of(known.cell), directions, batch_first=bool(self.attributes.get("layout", 0)))

    def _has(self, k: int) -> bool:
        return bool(self.inputs[k])

    def _hidden_size(self) -> int:
        size = self.attributes.get("hidden_size")
        if type(size) is not int or size < 1:
            raise ExportError(f"{self.what} has no hidden_size that is a positive number: {size!r}")
        return size

    def _text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def _equivalent(self) -> OnnxEquivalent:
        """The cell, once nothing asks for another one."""
        direction = self._text("direction", "forward")
        if direction not in ("forward", "bidirectional"):
            raise ExportError(f"{self.what} has the direction {direction!r}; a layer reads forward, or both ways")
        for name in ("clip", "input_forget"):
            if self.attributes.get(name):
                raise ExportError(f"{self.what} has {name}={self.attributes[name]!r}, which no cell of gateflow has")
        names = self.attributes.get("activations", [])
        if not isinstance(names, Sequence) or not all(isinstance(each, bytes) for each in names):
            raise ExportError(f"{self.what} has activations={names!r}, which are no names")
        activations = [each.decode(errors="replace") for each in names]
        D, given = 2 if direction == "bidirectional" else 1, dict.fromkeys(("linear_before_reset",), 0)
        given |= {n: v for n, v in self.attributes.items() if n in given}
        activations = activations or _DEFAULTS[self.kind] * D
        for known in (each for each in ONNX_EQUIVALENTS if each.operator == self.kind):
            own = list(known.attributes.get("activations", _DEFAULTS[self.kind])) * D
            resets = known.attributes.get("linear_before_reset", 0) == given["linear_before_reset"]
            if own == activations and resets and bool(known.peepholes) == self._has(7):
                return known
        raise ExportError(f"{self.what} has the activations {', '.join(activations)}, which no cell of gateflow has")


def _named(known: OnnxEquivalent, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one direction by our names, gates in our order."""
    weights = {"weight_ih": known.unfused(found["W"]), "weight_hh": known.unfused(found["R"])}
    if "B" in found:
        weights |= dict(zip(("bias_ih", "bias_hh"), map(known.unfused, found["B"].chunk(2)), strict=True))
    if "P" in found:
        weights |= dict(zip(known.peepholes, found["P"].chunk(3), strict=True))
    return weights
