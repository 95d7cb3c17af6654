"""A monitor's records as TensorBoard curves, and the decay of the gradient over the run as an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.errors import ConfigError
from gateflow.flow.reach import Reach

__all__ = ["Curves"]


class Curves:
    """Keeps the decays of a run and, if there is a writer, hands figures and images on.

    Args:
        writer: a `SummaryWriter`, a folder for one, or none.

    Raises:
        ConfigError: a folder, and TensorBoard is not installed.
    """

    def __init__(self, writer: Any = None):
        self.writer = _writer(writer) if isinstance(writer, str | Path) else writer
        self._decays: dict[str, list[Tensor]] = {}

    def add(self, record: Mapping[str, Any], found: Reach) -> None:
        """One measurement: its numbers under `flow/`, its layers' decays under `reach/`."""
        for name, layer in found.layers.items():
            self._decays.setdefault(name, []).append(layer.decay.values)
        if self.writer is None:
            return
        # Only numbers can be curves; what was skipped and why, and warnings, are words.
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self.writer.add_scalar(f"flow/{name}", value, record["step"])
        for name in found.layers:
            self.writer.add_image(f"reach/{name}", self.heatmap(name), record["step"], dataformats="HW")

    def heatmap(self, layer: str) -> Tensor:
        """`[measurements, lags]`: `log10 ρ` from 1e-8 (0, black) to 1 (1, white), the oldest measurement first."""
        # Batches may have sequences of different lengths; eight
        # decades, as the table of `reach` draws its lines.
        rows = pad_sequence(self._decays[layer], batch_first=True).nan_to_num(0.0)
        return (1 + rows.clamp(min=1e-8).log10() / 8).clamp(0, 1)


def _writer(folder: str | Path) -> Any:
    # TensorBoard is an extra: nobody who only reads `history` has to install it.
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise ConfigError("writer= a folder needs TensorBoard: pip install 'gateflow[tensorboard]'") from None
    return SummaryWriter(str(folder))
