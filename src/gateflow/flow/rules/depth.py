"""Gradients between layers, and between the two paths of an LSTM."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import torch

from gateflow.flow.measurements import Measurements
from gateflow.flow.reach import LayerReach
from gateflow.flow.rules.finding import Finding
from gateflow.layers import module_names
from gateflow.layers.stack import Stack

__all__ = ["deep_stack", "no_gradient", "outshone_memory"]


def no_gradient(measured: Measurements) -> Iterator[Finding]:
    """A problem where the loss does not depend on a trainable weight at all, or its gradient is exactly zero.

    A bias alone is a warning.
    """
    cut = {name: norm for name, norm in measured.gradients.items() if not norm}
    if not cut:
        return
    weights = [name for name in cut if "bias" not in name]
    # Two reasons that look the same in training: not connected
    # to the loss (None), and connected by a factor of zero.
    apart = [name for name, norm in cut.items() if norm is None]
    named = ", ".join(list(cut)[:4]) + (", …" if len(cut) > 4 else "")
    why = "the loss does not depend on it" if len(apart) == len(cut) else "its gradient is exactly zero"
    says = f"{len(cut)} of {len(measured.gradients)} weights get no gradient ({why}): {named}."
    evidence = {
        "weights without": float(len(cut)),
        "not connected": float(len(apart)),
        "of": float(len(measured.gradients)),
    }
    remedy = "Look for detach(), no_grad() or an unused branch between them and the loss, or freeze them."
    source = "torch.autograd.grad on this batch"
    code = "parameter.requires_grad_(False)  # if it is meant to stay as it is"
    severity = "problem" if weights else "warning"
    yield Finding("no-gradient", severity, (weights or list(cut))[0], says, evidence, source, remedy, code)


def deep_stack(measured: Measurements) -> Iterator[Finding]:
    """A warning for three layers or more without skips, where the lowest gets less than 1 % of what the top one gets.

    Compared is `‖∂E_t/∂s_t‖` at the target's own step. The threshold is ours: with torch's initial weights and 32 units
    each layer leaves 0.14 to the one below (LSTM), 0.28 (GRU) or 0.53 (Elman), so that it is met by four LSTM layers.
    """
    for stack, layers in _stacks(measured).items():
        own = [_own(layer) for layer in layers]
        if len(layers) < 3 or not own[-1] > 0 or _skips(measured, stack):
            continue
        ratio = own[0] / own[-1]
        if ratio >= 0.01:
            continue
        says = f"Of {len(layers)} layers the lowest gets {ratio:.1e} of the gradient that the top one gets."
        evidence = {"ratio": ratio, "layers": float(len(layers)), "per layer": ratio ** (1 / (len(layers) - 1))}
        source = "He, Zhang, Ren, Sun (2016). arXiv:1512.03385; LSTMs: Wu et al. (2016), section 3.1. arXiv:1609.08144"
        remedy = "Let each layer add to what it was given."
        code, options = 'gateflow.Recurrent(..., skip="residual")', "--skip residual"
        yield Finding("deep-stack", "warning", layers[0].name, says, evidence, source, remedy, code, options)


def _stacks(measured: Measurements) -> dict[str, list[LayerReach]]:
    """Layers of one stack and direction, lowest first."""
    found: dict[str, list[LayerReach]] = {}
    for name, layer in measured.reach.layers.items():
        # `encoder.l0_reverse`: a stack's layers of one direction
        # belong together. Cells in a user's loop have no such name.
        match = re.fullmatch(r"(.*?)\.?l\d+(_reverse)?", name)
        if match:
            found.setdefault(match[1] + (match[2] or ""), []).append(layer)
    return found


def _own(layer: LayerReach) -> float:
    there = layer.at >= 0
    norms = layer.norms.gather(1, layer.at.clamp(min=0)[:, None])[:, 0][there]
    # A mean of logarithms, as for the decay: the norms of single rows span orders of magnitude.
    norms = norms[norms > 0]
    return float(norms.double().log().mean().exp()) if norms.numel() else 0.0


def _skips(measured: Measurements, stack: str) -> bool:
    prefix = stack.removesuffix("_reverse")
    return any(
        isinstance(module, Stack) and name == prefix and module.options.skip is not None
        for module, name in module_names(measured.model).items()
    )


def outshone_memory(measured: Measurements) -> Iterator[Finding]:
    """A warning where, ten steps back or more, the gradient by `c` is less than half of that by `h`.

    The memory cell's straight path is then drowned by the path through the recurrent matrix. Not of a layer that
    another one reads: there a gradient comes to `h` at every step by way of that one as well, whatever the matrix.

    Measured here, 16 units: chrono 32, forget bias 1 with orthogonal matrices 1.5; the same matrices times 8, with
    forget bias 3, 0.34. Trained models that work have 0.59 and 0.88 (names of 17 letters), 0.62 (a decoder), 1.0 and
    1.2 (characters), 1.1 to 7.6 (taggers, classifiers, a language model), and down to 0.34 in layers that others read.
    """
    for name, layer in measured.reach.layers.items():
        if set(layer.parts) != {"h", "c"} or layer.horizon < 10 or name in measured.fed:
            continue
        ratio = _memory_share(layer)
        if not ratio < 0.5:
            continue
        cell = measured.cell(name)
        norm = float(torch.linalg.matrix_norm(cell.weight_hh.detach().float(), 2))
        says = f"Ten and more steps back the gradient by c is {ratio:.2g} of that by h: the recurrent matrix (largest "
        says += f"singular value {norm:.1f}) drowns the memory's straight path."
        evidence = {"c to h": ratio, "largest singular value": norm}
        source = "Arpit, Kanuparthi, Kerg, Ke, Mitliagkas, Bengio (2019). h-detach. arXiv:1810.03023"
        remedy = "Make the recurrent matrices smaller: orthogonal with a gain below 1, and weight decay."
        code, options = "gateflow.remedies.init.orthogonal(model, gain=0.5)", "--weight-decay 0.01"
        yield Finding("outshone-memory", "warning", name, says, evidence, source, remedy, code, options)


def _memory_share(layer: LayerReach) -> float:
    far = (layer.at[:, None] - torch.arange(layer.norms.shape[1], device=layer.at.device)[None, :, None]).abs() >= 10
    far &= (layer.parts["c"] > 0) & (layer.parts["h"] > 0) & (layer.at >= 0)[:, None]
    ratios = (layer.parts["c"] / layer.parts["h"])[far]
    return float(ratios.double().log().mean().exp()) if ratios.numel() else math.nan
