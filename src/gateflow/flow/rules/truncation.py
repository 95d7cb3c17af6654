"""Gradients that were never sent: truncated back-propagation, and padding between the loss and the words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gateflow.flow.capture import Replay
from gateflow.flow.measurements import Measurements
from gateflow.flow.rules.finding import Finding
from gateflow.flow.table import Share

__all__ = ["padding_read", "window_too_short"]

_TALLEC = "Tallec, Ollivier (2017). Unbiasing truncated backpropagation through time. arXiv:1705.08209"


def window_too_short(measured: Measurements) -> Iterator[Finding]:
    """A problem where the needed lag does not fit into the window, or into the batch.

    Without a needed lag a warning, where more than 1 % of the gradient arrives at the window's edge: there truncation
    is the limit, and not vanishing.
    """
    window, needed = measured.window or measured.longest + 1, measured.needed_lag
    edge = window - 1
    left = max((x for layer in measured.layers if not math.isnan(x := layer.left_at(edge))), default=Share(0.0))
    if needed is not None and needed >= window:
        severity, says = "problem", f"The task needs {needed} steps, and back-propagation sees {window} at a time."
    elif needed is None and measured.window is not None and left > 0.01:
        severity = "warning"
        says = f"{left.told[:1].upper()}{left.told[1:]} where back-propagation is cut, {edge} steps back."
    else:
        return
    evidence = {"window": float(window), "needed lag": needed or math.nan, "left at the edge": left}
    longer = 2 * (needed or window)
    remedy = "Make the windows longer than the lag; state carried between windows brings no gradient with it."
    yield Finding("window-too-short", severity, "", says, evidence, _TALLEC, remedy, "", f"--window {longer}")


def padding_read(measured: Measurements) -> Iterator[Finding]:
    """Where rows end in different numbers of equal inputs, over 20 % of all steps, and the loss is read there.

    A problem if less than 1 % of the gradient crosses the padding, else a warning. Equal inputs at the end of all rows
    alike, as in the copy task, are no padding. Own measurement: ten words padded to sixty and read at the last step
    leave 3e-12 of the gradient; with `lengths=` 0.4.
    """
    # The lowest layer's input is nearest to the user's data;
    # one that was given lengths has told where its rows end.
    lowest = next((p for p in measured.trace.replays if not p.reversed), None)
    if lowest is None or lowest.valid is not None or lowest.rows < 2:
        return
    ends = _equal_at_the_end(lowest)
    share, padded = float(ends.double().mean()) / lowest.steps, ends > 0
    if share <= 0.2 or ends.unique().numel() < 2 or not _loss_read_there(measured, lowest, ends):
        return
    layer = measured.reach.layers[lowest.title]
    last, rows = layer.norms[-1], torch.arange(lowest.rows, device=ends.device)
    # Norms are in the order of time and the lowest layer reads
    # forward, so a row's last word lies just before its padding.
    words = (last.shape[0] - 1 - ends).clamp(min=0)
    padded &= words < layer.at[-1]
    if not bool(padded.any()):
        return
    ratio = (last[words, rows] / last[layer.at[-1].clamp(min=0), rows])[padded].nan_to_num(0.0)
    # Seven digits are what float32 has, and a ratio of two norms in it.
    left = Share(float(ratio.median()), 1e-7)
    middle = float(ends[padded].double().median())
    says = (
        f"{share:.0%} of the steps look like padding (equal inputs at the ends of rows), and the loss is read there: "
        f"{left} of the gradient arrives at a row's last word, {middle:.0f} steps before."
    )
    evidence = {"share padded": share, "padding per row": middle, "left at the last word": left}
    source = "Measured by this library's tests; pytorch/pytorch#517 and #3662 have users who met it"
    remedy = "Tell the layer where each row ends; outputs and final state are then those of its last word."
    code = 'y, state = gateflow.Recurrent("lstm", ...)(x, lengths=lengths)  # torch\'s: pack_padded_sequence'
    severity = "problem" if left < 0.01 else "warning"
    yield Finding("padding-read", severity, lowest.title, says, evidence, source, remedy, code)


def _equal_at_the_end(replay: Replay) -> Tensor:
    """`[B]`: how many steps at the end of each row have the input that the batch's most padded row ends with."""
    x = replay.x.detach()
    # The padding is taken to be what the row with the longest
    # run of equal inputs ends with: other rows may have none.
    same_as_last = (x == x[-1]).all(-1)
    alike = same_as_last.flip(0).cumprod(0).sum(0)
    pad = x[-1, alike.argmax()]
    ends = (x == pad).all(-1).flip(0).cumprod(0).sum(0)
    # One equal input is what any row ends with.
    return ends if int(ends.max()) > 1 else torch.zeros_like(ends)


def _loss_read_there(measured: Measurements, lowest: Replay, ends: Tensor) -> bool:
    for replay, entry in zip(measured.trace.replays, measured.trace.entries, strict=True):
        if (replay.steps, replay.rows) != (lowest.steps, lowest.rows):
            continue
        touched = torch.stack([part.abs().amax(-1) for part in entry]).amax(0) > 0
        touched = touched.flip(0) if replay.reversed else touched
        k = torch.arange(replay.steps, device=ends.device)[:, None]
        if bool((touched & (k >= replay.steps - ends)).any()):
            return True
    return False
