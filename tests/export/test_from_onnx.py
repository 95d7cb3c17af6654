"""Weights of ONNX operators, random ones, as layers of ours: ONNX Runtime is the judge; and files that lie."""

import numpy as np
import pytest
import torch
from tests.export.conftest import export

import gateflow
from gateflow.errors import ExportError
from gateflow.export import from_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

T, B, I, H = 6, 4, 3, 5
ROWS = {"RNN": 1, "GRU": 3, "LSTM": 4}
CASES = {
    "elman": ("RNN", {}, ""),
    "elman_relu": ("RNN", {"activations": ["Relu", "Relu"]}, "B"),
    "gru": ("GRU", {"linear_before_reset": 1}, "B"),
    "full_gru": ("GRU", {"linear_before_reset": 0}, "B"),
    "lstm": ("LSTM", {}, "B"),
    "peephole_lstm": ("LSTM", {}, "BP"),
}


def weights(kind, optional, directions=2, dtype="f4"):
    rows, random = ROWS[kind] * H, np.random.default_rng(0)
    shapes = {"W": (rows, I), "R": (rows, H), "B": (2 * rows,), "P": (3 * H,)}
    kept = {name: shape for name, shape in shapes.items() if name in "WR" + optional}
    return {name: random.normal(size=(directions, *shape)).astype(dtype) / 2 for name, shape in kept.items()}


def model(kind, arrays, **attributes):
    """A model of one operator, with lengths and start states."""
    onnx_type = onnx.TensorProto.FLOAT
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    inputs = ["x", "W", "R", "B" if "B" in arrays else "", "lengths", *states, *(["P"] if "P" in arrays else [])]
    outputs = ["y", *(f"last_{state}" for state in states)]
    attributes = {"hidden_size": H, "direction": "bidirectional", **attributes}
    node = onnx.helper.make_node(kind, inputs, outputs, name="cell", **attributes)
    value = onnx.helper.make_tensor_value_info
    given = [value("x", onnx_type, (T, B, I)), value("lengths", onnx.TensorProto.INT32, (B,))]
    given += [value(state, onnx_type, (2, B, H)) for state in states]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph([node], "one", given, [value(name, onnx_type, None) for name in outputs], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("cell", CASES)
def test_same_outputs_and_final_states(cell, tmp_path):
    kind, attributes, optional = CASES[cell]
    made = model(kind, weights(kind, optional), **attributes)
    onnx.save(made, tmp_path / "model.onnx")
    layer = from_onnx(tmp_path / "model.onnx")
    assert type(layer.cells[0]) is gateflow.cells.get(cell)
    x, lengths = torch.randn(T, B, I), [6, 2, 5, 1]
    state = [tuple(torch.randn(B, H) for _ in each.states) for each in layer.cells]
    given = {"x": x.numpy(), "lengths": np.array(lengths, "i4")}
    given |= {n: torch.stack(parts).numpy() for n, parts in zip("hc", zip(*state, strict=True), strict=False)}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    y, *last = map(torch.from_numpy, session.run(None, given))
    found, final = layer(x, state, lengths)
    torch.testing.assert_close(found.detach(), y.transpose(1, 2).reshape(T, B, 2 * H), rtol=1e-5, atol=2e-6)
    for part, wanted in enumerate(last):
        torch.testing.assert_close(torch.stack([s[part] for s in final]).detach(), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("external", [False, True])
def test_what_torchs_exporter_writes_comes_back(external, tmp_path):
    """It leaves cuts and joins of weights in the graph, and by default writes large weights to a file beside it."""
    pytest.importorskip("onnxscript", reason="needs onnxscript, by which torch writes ONNX")
    layer = gateflow.Recurrent("full_gru", 40, 50, bidirectional=True).eval()
    args = (torch.zeros(5, 2, 40),)
    export(layer, args, None, tmp_path / "model.onnx", external_data=external)
    again = from_onnx(tmp_path / "model.onnx")
    for (name, found), wanted in zip(again.named_parameters(), layer.parameters(), strict=True):
        assert torch.equal(found, wanted), name


def test_layout_and_float64(tmp_path):
    made = model("GRU", weights("GRU", "B", 1, "f8"), layout=1, direction="forward")
    onnx.save(made, tmp_path / "model.onnx")
    layer = from_onnx(tmp_path / "model.onnx", "cell")
    assert layer.batch_first
    assert layer.weight_ih_l0.dtype == torch.float64


LIES = {
    "has clip=3.0": {"clip": 3.0},
    "has input_forget=1": {"input_forget": 1},
    "the direction 'reverse'": {"direction": "reverse"},
    "the activations Sigmoid, Relu, Tanh": {"activations": ["Sigmoid", "Relu", "Tanh"] * 2},
    r"W of LSTM 'cell' .* has the shape \[2, 20, 3\], and \[2, 24, any\] is needed": {"hidden_size": 6},
    r"W of LSTM .* and \[2, 36028797018963968, any\] is needed": {"hidden_size": 1 << 53},
    "no hidden_size that is a positive number: -1": {"hidden_size": -1},
}


@pytest.mark.parametrize("words", LIES)
def test_what_no_cell_computes_is_refused(words, tmp_path):
    onnx.save(model("LSTM", weights("LSTM", "B"), **LIES[words]), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=words):
        from_onnx(tmp_path / "model.onnx")


def test_files_that_are_none_or_name_none(tmp_path):
    file = tmp_path / "model.onnx"
    with pytest.raises(ExportError, match=r"model\.onnx cannot be read"):
        from_onnx(file)
    file.write_bytes(b"not a model")
    with pytest.raises(ExportError, match="is no ONNX file, or is damaged"):
        from_onnx(file)
    onnx.save(model("LSTM", weights("LSTM", "")), file)
    with pytest.raises(ExportError, match="0 recurrent operators called 'other'; there are 'cell'"):
        from_onnx(file, "other")
    made = model("LSTM", weights("LSTM", ""))
    del made.graph.initializer[:]
    onnx.save(made, file)
    with pytest.raises(ExportError, match="'W' .* is no constant: it is an input of the model"):
        from_onnx(file)


def attribute(name, kind=None, **value):
    return onnx.AttributeProto(name=name, type=getattr(onnx.AttributeProto, kind) if kind else 0, **value)


STRANGE = {
    "activations=b'Tanh', which are no names": [attribute("activations", "STRING", s=b"Tanh")],
    r"activations=\[1, 2\], which are no names": [attribute("activations", "INTS", ints=[1, 2])],
    "activations=3, which are no names": [attribute("activations", "INT", i=3)],
}


@pytest.mark.parametrize("words", STRANGE)
def test_attributes_of_a_type_that_they_never_have(words, tmp_path):
    made = model("LSTM", weights("LSTM", "B"))
    made.graph.node[0].attribute.extend(STRANGE[words])
    made.graph.node.append(onnx.NodeProto(op_type="Constant", attribute=[attribute("value", "TENSOR")]))  # no output
    onnx.save(made, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=words):
        from_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "link"])
def test_weights_outside_of_the_folder_are_not_read(place, tmp_path):
    folder, secret = tmp_path / "models", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(bytes(1 << 12))
    (folder / "link").symlink_to(secret)
    made = model("LSTM", weights("LSTM", ""))
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], place)
    made.graph.initializer[0].ClearField("raw_data")
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ExportError, match=r"outside of the file's folder, and is not read"):
        from_onnx(folder / "model.onnx")


def test_weights_that_are_cut_short(tmp_path):
    made = model("LSTM", weights("LSTM", ""))
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-4]
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ExportError, match="the weight 'W' .* is damaged"):
        from_onnx(tmp_path / "model.onnx")


def test_joins_of_joins_are_not_followed_for_ever(tmp_path):
    made = model("LSTM", weights("LSTM", ""))
    node = onnx.helper.make_node
    made.graph.node.extend(node("Concat", [f"w{k}"] * 99, [f"w{k + 1}"], axis=1) for k in range(6))
    made.graph.node.append(node("Concat", ["R", "R"], ["bad"], axis=7))
    made.graph.initializer[0].name = "w0"
    for name, words in (("w6", "is joined from more than"), ("bad", "is damaged: axis 7"), ("y", "LSTM computes it")):
        made.graph.node[0].input[1] = name
        onnx.save(made, tmp_path / "model.onnx")
        with pytest.raises(ExportError, match=words):
            from_onnx(tmp_path / "model.onnx")
