"""``python -m gateflow`` is the command ``gateflow``."""

import os
import sys

# `python -m` puts the current folder before all that is installed: whatever lies there, in a run that was sent too,
# could stand in for any module that is imported from here on. Code of the user's own is looked for behind all else.
if sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from gateflow.cli import main

if __name__ == "__main__":
    main()
