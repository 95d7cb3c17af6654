"""A process without gateflow: runs an exported program, and a package of AOTInductor, on the arguments of a file.

python loader.py FOLDER      →  FOLDER/out.pt, the outputs of each
"""

import sys
from pathlib import Path


class Blocked:
    """Refuses gateflow."""

    def find_spec(self, name, *_):
        if name.partition(".")[0] == "gateflow":
            raise ImportError(f"{name} is not there")


sys.meta_path.insert(0, Blocked())

import torch  # noqa: E402

folder = Path(sys.argv[1])
args = torch.load(folder / "args.pt")
found = {"program": torch.export.load(folder / "program.pt2").module()(*args)}
found["package"] = torch._inductor.aoti_load_package(str(folder / "package.pt2"))(*args)
torch.save(found, folder / "out.pt")
