"""ONNX Runtime: one RNN, GRU or LSTM node with our weights, inference only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.cases import Absent, Problem
from gateflow.benchmarking.timing import Call

# ONNX's operator, its order of our gates ("-" negated: its update gate keeps, ours overwrites), its attributes.
NODES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "rnn": ("RNN", ("content",), {}),
    "gru": ("GRU", ("update", "reset", "content"), {"linear_before_reset": 1}),
    "full_gru": ("GRU", ("-update", "reset", "content"), {"linear_before_reset": 0}),
    "lstm": ("LSTM", ("input", "output", "forget", "content"), {}),
    "peephole_lstm": ("LSTM", ("input", "output", "forget", "content"), {}),
}
PEEPHOLES = ("peephole_input", "peephole_output", "peephole_forget")


def build(problem: Problem) -> Call:
    """A session on as many threads as torch has."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise Absent("ONNX Runtime is not installed: pip install 'gateflow[bench]'") from None
    case = problem.case
    if (case.mode, case.precision) != ("inference", "fp32"):
        raise Absent("ONNX Runtime does not train, and is measured in fp32 over whole sequences")
    if case.cell not in NODES:
        raise Absent("ONNX has no operator with these equations")
    constants, fed = _constants(problem), {"X": problem.padded.detach().numpy()}
    if case.shape.lengths is not None:
        fed["sequence_lens"] = np.array(case.shape.lengths, dtype=np.int32)
    options = onnxruntime.SessionOptions()
    # As many as torch has; the default is one per core.
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads would spin on others' cores
    text = _model(onnx, case, constants, fed).SerializeToString()
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(["Y"], fed)[0])[:, 0]


def _constants(problem: Problem) -> dict[str, np.ndarray]:
    """Weights as ONNX names and orders them, with a first dimension for the direction."""
    order = NODES[problem.case.cell][1]
    bias = [_ordered(problem, name, order) for name in ("bias_ih", "bias_hh")]
    found = {"W": _ordered(problem, "weight_ih", order), "R": _ordered(problem, "weight_hh", order)}
    found["B"] = np.concatenate(bias)
    if problem.case.cell == "peephole_lstm":
        found["P"] = np.concatenate([problem.weights[name].numpy() for name in PEEPHOLES])
    return {name: value[None] for name, value in found.items()}


def _ordered(problem: Problem, name: str, order: tuple[str, ...]) -> np.ndarray:
    (cell,), value = problem.layer.cells, problem.weights[name].numpy()
    return np.concatenate([(-1 if g[0] == "-" else 1) * value[cell.gate_rows(g.removeprefix("-"))] for g in order])


def _model(onnx: Any, case: Any, constants: dict[str, np.ndarray], fed: dict[str, np.ndarray]) -> Any:
    """The weights are constants of the graph, so that the session may pack them once."""
    op, _, attributes = NODES[case.cell]
    have = {*constants, *fed}
    slots = ["X", "W", "R", "B", "sequence_lens", "initial_h", *(["initial_c", "P"] if op == "LSTM" else [])]
    inputs = [name if name in have else "" for name in slots]
    helper, kinds = onnx.helper, {np.dtype("f4"): onnx.TensorProto.FLOAT, np.dtype("i4"): onnx.TensorProto.INT32}
    node = helper.make_node(op, inputs, ["Y"], hidden_size=case.shape.H, **attributes)
    given = [helper.make_tensor_value_info(name, kinds[value.dtype], value.shape) for name, value in fed.items()]
    wanted = [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)]
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "one", given, wanted, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
