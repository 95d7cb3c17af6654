"""ONNX Runtime judges the cells that torch does not have: random weights, start states, ragged lengths, both ways."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

import gateflow
from gateflow.recurrence import reverse

T, B, I, H = 6, 4, 3, 5
LENGTHS = [6, 2, 5, 1]
P = ("peephole_input", "peephole_output", "peephole_forget")


def blocks(cell, name, order):
    """Rows of a fused weight in another order of gates; None for a gate that our cell lacks; ("gate", -1) negated."""
    value = getattr(cell, name).detach()
    rows = []
    for gate in order:
        gate, sign = gate if isinstance(gate, tuple) else (gate, 1)
        rows.append(
            torch.zeros(cell.hidden_size, *value.shape[1:]) if gate is None else sign * value[cell.gate_rows(gate)]
        )
    return torch.cat(rows).numpy()


def onnx_run(op, layer, order, x, state, overrides=None, **attributes):
    """Runs one ONNX node with a layer's weights: output `[T, B, D·H]` and final states `[D, B, H]`."""
    cells, D = layer.cells, layer.num_directions
    inputs = {"X": x.numpy()}
    for name, ours in {"W": "weight_ih", "R": "weight_hh"}.items():
        inputs[name] = np.stack([blocks(c, ours, order) for c in cells])
    inputs["B"] = np.stack([np.concatenate([blocks(c, b, order) for b in ("bias_ih", "bias_hh")]) for c in cells])
    inputs["sequence_lens"] = np.array(LENGTHS, dtype=np.int32)
    inputs["initial_h"] = torch.stack([s[0] for s in state]).numpy()
    if op == "LSTM":
        inputs["initial_c"] = torch.stack([s[1] for s in state]).numpy()
        zero = torch.zeros(H)
        inputs["P"] = np.stack([torch.cat([getattr(c, p, zero).detach() for p in P]).numpy() for c in cells])
    for name, change in (overrides or {}).items():
        change(inputs[name])
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", *(["initial_c", "P"] if op == "LSTM" else [])]
    outputs = ["Y", "Y_h", *(["Y_c"] if op == "LSTM" else [])]
    direction = "bidirectional" if D == 2 else "forward"
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * D
        attributes["activation_alpha"] = [1.0] * len(attributes["activations"])
        attributes["activation_beta"] = [0.0] * len(attributes["activations"])
    node = helper.make_node(op, names, outputs, hidden_size=H, direction=direction, **attributes)
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}
    given = [helper.make_tensor_value_info(n, kinds[inputs[n].dtype], inputs[n].shape) for n in names]
    wanted = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "one", given, wanted)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, *final = session.run(None, inputs)
    return torch.from_numpy(y).transpose(1, 2).reshape(T, B, D * H), [torch.from_numpy(f) for f in final]


IOFC = ["input", "output", "forget", "content"]  # the order of ONNX


def saturate(row_block):
    """Opens a gate for good: no weights, a bias of 100."""

    def change(array):
        array[:, row_block * H : (row_block + 1) * H] = 100 if array.ndim == 2 else 0

    return change


CASES = {
    "elman": ("RNN", ["content"], {}),
    "elman_relu": ("RNN", ["content"], {"activations": ["Relu"]}),
    "gru": ("GRU", ["update", "reset", "content"], {"linear_before_reset": 1}),
    "full_gru": ("GRU", [("update", -1), "reset", "content"], {"linear_before_reset": 0}),
    "simplified_gru": ("GRU", [("update", -1), None, "content"], {}),
    "lstm": ("LSTM", IOFC, {}),
    "np": ("LSTM", IOFC, {}),
    "peephole_lstm": ("LSTM", IOFC, {}),
    "niaf": ("LSTM", IOFC, {"activations": ["Sigmoid", "Affine", "Tanh"]}),
    "noaf": ("LSTM", IOFC, {"activations": ["Sigmoid", "Tanh", "Affine"]}),
    "cifg": ("LSTM", ["input", "output", ("input", -1), "content"], {}),
    "cifg_lstm": ("LSTM", [("forget", -1), "output", "forget", "content"], {}),
    "nig": ("LSTM", [None, "output", "forget", "content"], {}),
    "nfg": ("LSTM", ["input", "output", None, "content"], {}),
    "nog": ("LSTM", ["input", None, "forget", "content"], {}),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_same_outputs_and_final_states(kind, bidirectional):
    op, order, attributes = CASES[kind]
    layer = gateflow.Recurrent(kind, I, H, bidirectional=bidirectional)
    x = torch.randn(T, B, I)
    state = [tuple(torch.randn(B, H) for _ in c.states) for c in layer.cells]
    overrides = {}
    if None in order:  # a gate that this variant lacks stands open in ONNX's
        overrides = {"B": saturate(order.index(None))}
    if kind == "cifg":  # its forget gate is 1 - i, so ONNX's forget peephole is the input's, negated
        overrides = {"P": lambda p: p.__setitem__((slice(None), slice(2 * H, 3 * H)), -p[:, :H])}
    wanted, finals = onnx_run(op, layer, order, x, state, overrides, **attributes)
    y, final = layer(x, state, lengths=LENGTHS)
    torch.testing.assert_close(y.detach(), wanted, rtol=1e-5, atol=2e-6)
    for part, value in enumerate(finals):
        torch.testing.assert_close(torch.stack([s[part] for s in final]).detach(), value, rtol=1e-5, atol=2e-6)


def test_the_two_grus_are_different_cells():
    full, after = gateflow.Recurrent("full_gru", I, H), gateflow.Recurrent("gru", I, H)
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            u, r, n = getattr(full, name).chunk(3)
            getattr(after, name).copy_(torch.cat([r, -u, n]))
    x = torch.randn(T, B, I)
    assert (full(x)[0] - after(x)[0]).abs().max() > 1e-3


def test_reverse_turns_each_row_inside_its_own_length():
    x = torch.arange(5.0).reshape(5, 1, 1).expand(5, 3, 1)
    turned = reverse(x, torch.tensor([5, 2, 0]))
    assert turned[:, :, 0].T.tolist() == [[4, 3, 2, 1, 0], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4]]
