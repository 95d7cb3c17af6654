"""The records of a run as TensorBoard curves."""

from __future__ import annotations

from pathlib import Path

from gateflow.errors import ConfigError
from gateflow.training.checkpoint import Progress
from gateflow.training.metrics import Record


class TensorBoardCurves:
    """A listener that writes every number of a record under ``train/`` or ``valid/``.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise ConfigError("--tensorboard needs TensorBoard: pip install 'gateflow[tensorboard]'.") from None
        self.writer = SummaryWriter(str(folder))

    def step(self, progress: Progress, total: int) -> None:
        """Curves have a point per record, not per update."""

    def record(self, record: Record) -> None:
        """Add one point to each curve."""
        for name, value in record.items():
            if isinstance(value, int | float) and name not in ("step", "epoch", "seconds"):
                self.writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])
        self.writer.flush()
