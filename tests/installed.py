"""Tries gateflow as it was installed, not as it lies in the sources: ``make wheel`` runs this on the built wheel."""

import sys
import tempfile
from pathlib import Path

import torch

import gateflow
from gateflow import Recurrent, flow
from gateflow.inspector.page import FILES, resource
from gateflow.recurrence import explain

if __name__ == "__main__":
    assert Path.cwd() in Path(gateflow.__file__).resolve().parents, f"{gateflow.__file__} is not what was installed"
    layer, x = Recurrent("full_gru", 3, 4), torch.randn(5, 2, 3)
    layer(x)[0].sum().backward()  # headers of kernels
    assert explain(layer, x).paths in (("native",), ("reference",)), explain(layer, x)
    with tempfile.TemporaryDirectory() as folder:  # template, style and script of the report
        page = Path(folder) / "flow.html"
        flow.diagnose(layer, x, needed_lag=4).save(page)
        assert page.stat().st_size > 1_000_000
    assert all(map(resource, (*FILES, "page.html", "file.html")))  # the page of the inspector
    sys.stdout.write(f"gateflow {gateflow.__version__} from its wheel: {explain(layer, x)}\n")
