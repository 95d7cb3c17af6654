"""ONNX Runtime alone: runs exported models in a process that has neither torch nor gateflow.

python judge.py FOLDER      →  for each NAME.onnx of it what it makes of NAME.npz, as NAME.out.npz
"""

import sys
from pathlib import Path


class Blocked:
    """Refuses what a process that only runs models does not have."""

    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "gateflow"):
            raise ImportError(f"{name} is not there")


sys.meta_path.insert(0, Blocked())

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

for file in sorted(Path(sys.argv[1]).glob("*.onnx")):
    session, given = onnxruntime.InferenceSession(file), np.load(file.with_suffix(".npz"))
    # Inputs by their order: torch's exporter names those of nested arguments by itself.
    inputs = {each.name: given[f"arr_{k}"] for k, each in enumerate(session.get_inputs())}
    np.savez(file.with_suffix(".out.npz"), *session.run(None, inputs))
