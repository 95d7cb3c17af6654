"""Numbers that are too coarse, or too small."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from gateflow.flow.measurements import Measurements
from gateflow.flow.rules.finding import Finding

__all__ = ["coarse_gates", "subnormals"]


def coarse_gates(measured: Measurements) -> Iterator[Finding]:
    """A warning where 16-bit gates would have to keep longer than the type can say, in any unit.

    The largest bfloat16 below 1 is 0.99609: a half-life of 177 steps. What is longer is either that or forever. For
    float16 it is 0.99951 and 1419 steps.
    """
    if measured.quantised is None:
        return
    # Below 1 floating-point numbers lie half as far apart as above it.
    below_one = 1 - torch.finfo(measured.quantised).eps / 2
    limit = math.log(0.5) / math.log(below_one)
    for name, layer in measured.gates.layers.items():
        if layer.half_lives is None or layer.keeper is None:
            continue
        beyond = float((layer.half_lives > limit).double().mean())
        if beyond == 0:
            continue
        kind = str(measured.quantised).removeprefix("torch.")
        says = f"{beyond:.0%} of the units keep longer than {limit:.0f} steps; {kind} knows no gate between that and 1."
        evidence = {"units beyond": beyond, "longest half-life of the type": limit, "largest gate below 1": below_one}
        source = "IEEE 754 and the definition of bfloat16: 8 significant bits; own measurement"
        remedy = "Keep gates and state in float32; only the large products gain from 16 bits."
        where, lines = f"{name} {layer.keeper[0]}", ("model.float()", "--precision fp32")
        yield Finding("coarse-gates", "warning", where, says, evidence, source, remedy, *lines)


def subnormals(measured: Measurements) -> Iterator[Finding]:
    """A warning where the gradient has fallen below the smallest normal number on more than 5 % of the steps (CPU).

    Arithmetic on such numbers is slow. Own measurement: an LSTM with torch's initial weights, 200 steps, loss at the
    last, trains 8.9 times as fast with subnormals taken as zero.
    """
    for name, norms in measured.arriving.items():
        replays = measured.trace.sequences[name]
        first = replays[0]
        # From the norm over the batch to the size of one number, if all were alike.
        numbers = first.rows * sum(part.shape[-1] for part in first.states)
        typical = [norm / math.sqrt(numbers) for norm in norms]
        tiny = torch.finfo(first.y.dtype).tiny
        share = sum(size < tiny for size in typical) / len(typical)
        least = min((size for size in typical if size > 0), default=1.0)
        if first.x.device.type != "cpu" or share <= 0.05 or least > 1e13 * tiny:
            continue
        says = f"On {share:.0%} of the steps the gradient is below {tiny:.1e}, where a CPU is many times slower."
        evidence = {"share of steps": share, "smallest normal number": tiny, "largest gradient": max(typical)}
        source = "oneapi-src/oneDNN#561; own measurement"
        remedy = "Take such numbers as zero, and see to the vanishing that makes them."
        yield Finding("subnormals", "warning", name, says, evidence, source, remedy, "torch.set_flush_denormal(True)")
