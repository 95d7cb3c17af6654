"""ONNX's own node test vectors for RNN, GRU (both resets) and LSTM (peepholes), through the matching cells."""

import functools
import warnings

import numpy as np
import pytest
import torch

import gateflow
from gateflow import cells

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # onnx's own deprecations
    from onnx.backend.test.case.node import gru, lstm, rnn

# ONNX's gate order -> ours, as (our gate, position in ONNX, sign). In ONNX's GRU an open z keeps; in `full_gru` an
# open update overwrites: σ(-a) = 1 - σ(a), so its weights change sign.
LAYOUT = {
    "RNN": ("elman", [(0, 1)]),
    "LSTM": ("peephole_lstm", [(0, 1), (2, 1), (3, 1), (1, 1)]),  # iofc -> i f c o
    "GRU": ("full_gru", [(0, -1), (1, 1), (2, 1)]),  # zrh -> u r n
    "GRU after": ("gru", [(1, 1), (0, 1), (2, 1)]),  # zrh -> r z n
}
PEEPHOLES = ("peephole_input", "peephole_output", "peephole_forget")  # ONNX's P is iof


@functools.cache
def vectors():
    """Name, node, inputs by name and wanted outputs by name, of every vector."""
    found = []

    def record(node, inputs, outputs, name):
        names = [[n for n in names if n] for names in (node.input, node.output)]
        found.append((name, node, dict(zip(names[0], inputs, strict=True)), dict(zip(names[1], outputs, strict=True))))

    for module in (gru, lstm, rnn):
        original, module.expect = module.expect, record
        for case in (c for c in vars(module).values() if isinstance(c, type)):
            for export in (e for n, e in vars(case).items() if n.startswith("export")):
                export.__func__()
        module.expect = original
    return found


def build(node, given):
    """A `Recurrent` with the weights of an ONNX node; reverse-only nodes run on input turned around."""
    attributes = {a.name: a for a in node.attribute}
    after = "linear_before_reset" in attributes and attributes["linear_before_reset"].i
    kind, layout = LAYOUT["GRU after" if after else node.op_type]
    directions = given["W"].shape[0]
    size = attributes["hidden_size"].i
    layer = gateflow.Recurrent(kind, given["W"].shape[2], size, bidirectional=directions == 2)
    for d, cell in enumerate(layer.cells):
        halves = np.split(given["B"][d], 2) if "B" in given else [np.zeros(len(layout) * size, "f4")] * 2
        onnx = {"weight_ih": given["W"][d], "weight_hh": given["R"][d], "bias_ih": halves[0], "bias_hh": halves[1]}
        peepholes = np.split(given["P"][d], 3) if "P" in given else [np.zeros(size, "f4")] * 3
        with torch.no_grad():
            for name, value in onnx.items():
                blocks = np.split(value, len(layout))
                getattr(cell, name).copy_(torch.from_numpy(np.concatenate([s * blocks[k] for k, s in layout])))
            for name, value in zip(PEEPHOLES, peepholes, strict=True) if node.op_type == "LSTM" else ():
                getattr(cell, name).copy_(torch.from_numpy(value))
    return layer, attributes


@pytest.mark.parametrize("name", [v[0] for v in vectors()])
def test_node_vector(name):
    _, node, given, wanted = next(v for v in vectors() if v[0] == name)
    layer, attributes = build(node, given)
    assert set(given) <= {"X", "W", "R", "B", "P", "sequence_lens", "initial_h", "initial_c"}
    x = torch.from_numpy(given["X"])
    x = x.transpose(0, 1) if "layout" in attributes and attributes["layout"].i else x
    backwards = "direction" in attributes and attributes["direction"].s == b"reverse"
    lengths = torch.from_numpy(given["sequence_lens"]) if "sequence_lens" in given else None
    assert not any(given[k].any() for k in ("initial_h", "initial_c") if k in given), "vectors start from zero"
    y, final = layer(x.flip(0) if backwards else x, lengths=lengths)

    T, B, D, H = *x.shape[:2], layer.num_directions, final[0][0].shape[-1]
    y = y.reshape(T, B, D, H).transpose(1, 2)
    y = y.flip(0) if backwards else y
    found = {"Y": y, "Y_h": torch.stack([s[0] for s in final])}
    found |= {"Y_c": torch.stack([s[1] for s in final])} if len(final[0]) > 1 else {}
    if "layout" in attributes and attributes["layout"].i:
        found = {n: v.permute(2, 0, 1, 3) if n == "Y" else v.transpose(0, 1) for n, v in found.items()}
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], torch.from_numpy(value), rtol=1e-5, atol=1e-6, msg=f"{name} {key}")


def test_all_operators_and_both_resets_are_covered():
    kinds = {
        (v[1].op_type, bool(next((a.i for a in v[1].attribute if a.name == "linear_before_reset"), 0)))
        for v in vectors()
    }
    assert {("RNN", False), ("LSTM", False), ("GRU", False)} <= kinds
    assert any("P" in v[2] for v in vectors())
    assert cells.get("peephole_lstm").diagonals == ("peephole_input", "peephole_forget", "peephole_output")
