"""Monitor: the instruments while a model trains, at a bounded share of the time.

`Monitor` (`monitor.py`) is called once per training step. When a measurement is due, and a further one would
stay within its budget of the time, it takes `reach` for a few targets on the batch at hand, and adds a record
to its history; `curves.py` draws the records for TensorBoard, the rules of `rules/training_curve.py` judge
them, and the report shows them.

    loss.backward() ─► monitor.step(loss)
                         ├─ due, and within the budget ─► reach ─► history ─► curves, a warning of collapse
                         └─ something is not finite ─► nonfinite_origin ─► snapshot ─► NonFiniteError

At the first loss or gradient that is not finite, `nonfinite_origin.py` finds where it arose (layer, time
step, gate, row), and `snapshot.py` writes weights, batch and random state into a folder, from which `restore`
runs the same step again.

*Boundary:* decides nothing about the training; a clipper skips steps, a monitor names them. *Invariant:* a
measurement leaves weights, gradients, modes and random state as they were.
"""

from gateflow.flow.monitor.monitor import Monitor
from gateflow.flow.monitor.snapshot import random_state, random_state_of, restore

__all__ = ["Monitor", "random_state", "random_state_of", "restore"]
