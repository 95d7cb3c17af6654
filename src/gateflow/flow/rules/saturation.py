"""Gates and units that are pressed against their limits, where their derivative is next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from gateflow.flow.activations import Activation
from gateflow.flow.measurements import Measurements
from gateflow.flow.rules.finding import Finding, chrono

__all__ = ["dead_units", "saturated_gates", "saturated_units"]

_KARPATHY = "Karpathy, Johnson, Fei-Fei (2015). Visualizing and understanding recurrent networks. arXiv:1506.02078"


def saturated_units(measured: Measurements) -> Iterator[Finding]:
    """A warning where more than half of a memory, as tanh(c), lies beyond ±0.95, a problem from 60 % on.

    Not in a run whose loss falls, which it does in spite of it: that is how far training itself goes. Own measurement,
    on data that were held out, LSTMs that work: memories have 0 to 31 % (a language model, classifiers of reviews and
    names, taggers), 47 % (a tagger) and 58 % (a recogniser of writing). A share alone does not tell them from a start
    that is out of reach (temporal order, 100 steps, three seeds each): with forget bias 4 an LSTM has 69 % and reaches
    all 99 steps, yet never learns; with 2 or chrono, where the memory is not saturated, it learns each time.

    What a gate lets in, beside a memory, is a decision and no road for the gradient: models that work have up to 77 %.
    It counts from 90 % on, as a gate does that stands still. Where tanh is the state itself the whole gradient comes
    through it: 30 and 60 %.
    """
    if measured.learns:
        return
    for name, layer in measured.gates.layers.items():
        for gate, activation in layer.activations.items():
            share = activation.high if activation.kind == "tanh" else 0.0
            some, most = (0.5, 0.6) if gate == "state" else (0.9, 0.9) if measured.cell(name).keeps else (0.3, 0.6)
            if share <= some:
                continue
            what = "tanh(c)" if gate == "state" else gate
            says = f"{share:.0%} of {what} lies beyond ±0.95, where its derivative is below 0.1: little can be learned."
            remedy, *lines = _looser(measured, name)
            severity = "problem" if share > most else "warning"
            evidence = {"share beyond 0.95": share, "mean": activation.mean}
            where, source = f"{name} {gate}", f"{_KARPATHY}; forget bias: Tallec, Ollivier (2018). arXiv:1804.11188"
            yield Finding("saturated-units", severity, where, says, evidence, source, remedy, *lines)


def _looser(measured: Measurements, name: str) -> tuple[str, str, str]:
    # Two gates that keep: with the forget gates open and the input gates not closed the
    # memory grows from step to step. Chrono sets the one against the other, `b_i = -b_f`.
    if len(measured.cell(name).keeps) > 1:
        remedy = "Close the input gates as far as the forget gates are open (chrono), or lower the forget bias."
        return remedy, *chrono(measured.lag)
    remedy = "Begin with smaller weights, and hold the activations down by a penalty."
    return remedy, "loss = loss + gateflow.remedies.penalties.activation(y)", ""


def saturated_gates(measured: Measurements) -> Iterator[Finding]:
    """A warning where more than 90 % of a gate's values lie below 0.1 or above 0.9.

    Gates that keep the memory are meant to stay open (chrono sets them so, up to 91 % above 0.9): they count
    below 0.001 and above 0.999 only. The other gates of the healthy starts measured here have 0 %.
    """
    for name, layer in measured.gates.layers.items():
        keeps = measured.cell(name).keeps
        for gate, activation in layer.activations.items():
            if activation.kind != "sigmoid":
                continue
            edge = 0.001 if gate in keeps else 0.1
            shut, open_ = _shares(activation, edge)
            if shut + open_ <= 0.9:
                continue
            way = "shut" if shut > open_ else "open"
            says = (
                f"{shut + open_:.0%} of the {gate} gate's values are below {edge} or above {1 - edge}: it stands {way}."
            )
            evidence = {"share shut": shut, "share open": open_, "mean": activation.mean}
            remedy = f"Draw the gate's weights and biases again, with smaller inputs; it is {way} whatever it reads."
            code = "layer.reset_parameters()"
            yield Finding("saturated-gates", "warning", f"{name} {gate}", says, evidence, _KARPATHY, remedy, code)


def _shares(activation: Activation, edge: float) -> tuple[float, float]:
    there = activation.values[activation.values.isfinite()]
    return float((there < edge).double().mean()), float((there > 1 - edge).double().mean())


def dead_units(measured: Measurements) -> Iterator[Finding]:
    """A warning where more than 20 % of ReLU units are never above 0 on the batch, a problem from 60 % on.

    The thresholds are ours: an Elman layer with ReLU, 32 units and torch's initial weights has none on random input.
    """
    for name, layer in measured.gates.layers.items():
        for gate, activation in layer.activations.items():
            if activation.kind != "relu" or activation.dead <= 0.2:
                continue
            says = f"{activation.dead:.0%} of the ReLU units are never above 0 on this batch: they pass no gradient."
            source = "Maas, Hannun, Ng (2013). Rectifier nonlinearities improve neural network acoustic models. ICML"
            remedy = "Begin with the identity and small input weights, and lower the learning rate; or use tanh."
            code, options = "gateflow.remedies.init.identity(model)", "--init identity"
            severity = "problem" if activation.dead > 0.6 else "warning"
            evidence = {"dead": activation.dead, "mean": activation.mean}
            yield Finding("dead-units", severity, f"{name} {gate}", says, evidence, source, remedy, code, options)
