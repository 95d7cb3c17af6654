"""metrics.jsonl: one JSON object a line, appended while training, cut back to the checkpoint on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateflow.errors import RunError
from gateflow.files import append, flush, write

Record = dict[str, Any]


class MetricsLog:
    """The file of a run's metrics.

    Every record has `step`; the fields `seconds` and, of a language model, `tokens_per_second` are times and differ
    between two runs of the same seed, all others are equal. Records of kind ``flow`` are a monitor's, which measures
    when there is time; its `share` of the time differs too.

    Example:
        >>> import tempfile
        >>> log = MetricsLog(Path(tempfile.mkdtemp()) / "metrics.jsonl")
        >>> log.append({"step": 1, "loss": 2.5})
        >>> log.append({"step": 2, "loss": 2.25})
        >>> log.cut_back(to_step=1)
        >>> log.read()
        [{'step': 1, 'loss': 2.5}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Write one line; `flush` makes it outlive a power cut."""
        append(self.path, json.dumps(record) + "\n")

    def flush(self) -> None:
        """Wait until the lines are on the disk, before a checkpoint that counts on them is written."""
        # A run that was stopped before its first record has no file.
        if self.path.exists():
            flush(self.path)

    def read(self) -> list[Record]:
        """All complete lines; one that was being written when the process was killed does not count."""
        if not self.path.is_file():
            return []
        try:
            # What follows the last end of line is empty, or was being written when the process was killed.
            *lines, _torn = self.path.read_text(encoding="utf-8").split("\n")
            return [_record(line) for line in lines]
        except (ValueError, RecursionError) as error:
            raise RunError(f"{self.path} is damaged ({error!s:.200}); move it away and resume again.") from None

    def cut_back(self, to_step: int) -> None:
        """Forget what was recorded after `to_step`, since it will be recorded again."""
        # Lines and checkpoint are two files, so a kill between them leaves lines that the checkpoint does not
        # know.
        kept = [record for record in self.read() if record["step"] <= to_step]
        write(self.path, "".join(json.dumps(record) + "\n" for record in kept))


def _record(line: str) -> Record:
    """A line that says at which step which numbers were found."""
    found = json.loads(line)
    if not isinstance(found, dict) or type(found.get("step")) is not int:
        raise ValueError(f"{line!r:.80} is no record of a step")
    # A report shows these values on a page: nothing but numbers and words may get there.
    if not all(value is None or isinstance(value, int | float | str) for value in found.values()):
        raise ValueError(f"{line!r:.80} holds more than numbers and words")
    return found
