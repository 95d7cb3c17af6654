"""Models are exported by torch's own exporter, and judged by ONNX Runtime in a process without torch and gateflow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

# ONNX Runtime's float64 has elementary functions of its own, and rows that it sums in another order.
TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 1e-5)}
# ONNX Runtime's float64 has elementary functions of its own, and rows that it sums in another order.
TOLERANCE = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-5, 1e-5)}
# Of torch 2.13's exporter itself: `nn.Linear` gets them too.
EXPORTER_WARNINGS = (
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:# The axis name:UserWarning",
)


def arrays(values):
    return [leaf.detach().numpy() for leaf in tree_leaves(values)]


def export(model, args, dynamic_shapes, file, **options):
    options |= {"dynamic_shapes": dynamic_shapes, "verbose": False, "external_data": False}
    torch.onnx.export(model, args, file, dynamo=True, **options)


def judged(folder):
    """What ONNX Runtime makes of the models in a folder: a list of arrays by name."""
    command = [sys.executable, str(Path(__file__).with_name("judge.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    results = {file.name.removesuffix(".out.npz"): np.load(file) for file in folder.glob("*.out.npz")}
    return {name: [found[f"arr_{k}"] for k in range(len(found.files))] for name, found in results.items()}


def assert_same(found, wanted, what):
    wanted = arrays(wanted)
    assert len(found) == len(wanted), what
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        rtol, atol = TOLERANCE[torch.from_numpy(b).dtype]
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=f"{what}, output {k}")


@pytest.fixture
def exported(tmp_path):
    """Exports a model on some arguments, and has ONNX Runtime run it on others."""

    def run(model, args, others, dynamic_shapes, name="model", **options):
        export(model, args, dynamic_shapes, tmp_path / f"{name}.onnx", **options)
        np.savez(tmp_path / f"{name}.npz", *arrays(others))
        with torch.no_grad():
            wanted = model(*others)
        assert_same(judged(tmp_path)[name], wanted, name)
        return tmp_path / f"{name}.onnx"

    return run
