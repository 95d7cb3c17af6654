"""``python -m gateflow`` is the command ``gateflow``."""

from gateflow.cli import main

if __name__ == "__main__":
    main()
