"""The records of a run as TensorBoard curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateflow.errors import ConfigError
from gateflow.training.checkpoint import Progress
from gateflow.training.metrics import Record

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class TensorBoardCurves:
    """A callback that writes every number of a record under ``train/`` or ``valid/``; a monitor writes its own.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.writer = _writer()(str(folder))

    def step(self, progress: Progress, total: int) -> None:
        """Curves have a point per record, not per update."""

    def record(self, record: Record) -> None:
        """Add one point to each curve."""
        if record["kind"] == "flow":  # the monitor has the writer too, and its curves are named by layer
            return
        for name, value in record.items():
            if isinstance(value, int | float) and name not in ("step", "epoch", "seconds"):
                self.writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])
        self.writer.flush()


def require_tensorboard() -> None:
    """Find out before anything is done whether TensorBoard is there."""
    _writer()


def _writer() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard needs TensorBoard: pip install 'gateflow[tensorboard]'.") from None
    return SummaryWriter
