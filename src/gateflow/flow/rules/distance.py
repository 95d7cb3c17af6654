"""Gradients that shrink or grow with the distance in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gateflow.flow.measurements import Measurements
from gateflow.flow.rules.finding import Finding, chrono
from gateflow.flow.rules.training_curve import flat_loss

__all__ = ["exploding", "short_half_life", "vanishing"]

_PASCANU = "Pascanu, Mikolov, Bengio (2013), sections 2.1 and 3. arXiv:1211.5063"
_CHRONO = "Tallec, Ollivier (2018). Can recurrent neural networks warp time? arXiv:1804.11188"


def vanishing(measured: Measurements) -> Iterator[Finding]:
    """A problem where less than 1 % of the gradient is left at the needed lag, in the layer where most is left.

    Without a needed lag a warning, where the horizon is shorter than a quarter of the steps that the batch offers: it
    is no fault for a task whose lags are short.
    """
    # The layer where most is left: one that forgets does no
    # harm while another one carries the gradient that far.
    layer, needed = measured.farthest, measured.needed_lag
    if not measured.short and (needed is not None or layer.open or 4 * layer.horizon >= measured.longest):
        return
    evidence: dict[str, float | str] = {"horizon": layer.horizon, "lag": measured.lag, "left at lag": measured.left}
    if measured.terms is not None:
        beyond = max(t.beyond(measured.lag - 1) for t in measured.terms.layers.values())
        evidence["share of the weight's gradient from that lag on"] = beyond
    below = "less than " if measured.left <= layer.decay.floor else ""
    says = f"1 % of the gradient is left {layer.horizon} steps back, and {below}{measured.left:.1e} of it "
    says += f"{measured.lag} back."
    says += f" The task needs {needed} steps." if needed else " Whatever lies farther back hardly teaches anything."
    if flat_loss(measured.series("loss")):
        says += " The loss stands still as well: see to the reach before the learning rate."
    remedy, code = _longer(measured, needed or measured.longest)
    yield Finding("vanishing", "problem" if needed else "warning", layer.name, says, evidence, _PASCANU, remedy, code)


def _longer(measured: Measurements, lag: int) -> tuple[str, str]:
    # Chrono draws biases of the gates that keep; without
    # such a gate, or without biases, it has nothing to draw.
    cell = measured.cell(measured.farthest.name)
    if cell.keeps and cell.bias:
        remedy = "Begin with memories as long as the task's lags (chrono), and train again from there."
        return remedy, chrono(lag)
    if type(cell).__name__ == "ElmanReLU":
        return "Begin with the identity, and clip.", "gateflow.remedies.init.identity(model)  # --init identity"
    if cell.gates and not cell.keeps:
        remedy = "Use a cell whose gates keep a memory; with this one, begin with orthogonal matrices, and clip."
        return remedy, 'gateflow.Recurrent("lstm", ...)  # or gateflow.remedies.init.orthogonal(model)'
    return "Use a cell with gates that keep a memory.", 'gateflow.Recurrent("lstm", ...)  # --cell lstm'


def short_half_life(measured: Measurements) -> Iterator[Finding]:
    """A problem where even the longest-lived tenth of units keeps less than 1 % over the needed lag, and reach ends.

    Units that forget do no harm while the gradient arrives by way of the recurrent matrix, hence the second condition.
    """
    for name, layer in measured.gates.layers.items():
        if not measured.short or layer.half_lives is None or layer.keeper is None:
            continue
        # The longest-lived tenth: a gradient arrives if a few units remember, however soon the others forget.
        median, longest = layer.half_lives.quantile(layer.half_lives.new_tensor([0.5, 0.9])).tolist()
        kept = 0.5 ** (measured.lag / longest)
        if not kept < 0.01:
            continue
        evidence = {"half-life": median, "half-life of the longest tenth": longest, "kept over the lag": kept}
        gate, sign = layer.keeper
        says = (
            f"The {gate} gates {'close' if sign > 0 else 'open'} too early: half of the units forget within "
            f"{median:.1f} steps, nine tenths within {longest:.1f}, and the task needs {measured.needed_lag}."
        )
        remedy, where = "Spread the units' memories over the lags of the task.", f"{name} {gate}"
        yield Finding("short-half-life", "problem", where, says, evidence, _CHRONO, remedy, chrono(measured.lag))


def exploding(measured: Measurements) -> Iterator[Finding]:
    """A problem where the gradient grows more than a hundredfold going backward, a warning from tenfold on.

    Also a warning where the largest Lyapunov exponent makes more than a factor 100 over the batch: on this loss it has
    not come to that, on a longer sequence it will. Healthy starts measured here grow less than twofold (`exp(λT)` up
    to 10, for an LSTM with forget bias 4). Where that exponent is negative growth is none of time: a gradient comes to
    the lower layers of a deep stack on more and more ways the farther it has to go.
    """
    for name, layer in measured.reach.layers.items():
        values = layer.decay.values.nan_to_num(0.0)
        # Lags that no target has are NaN, and no growth.
        growth, lag = float(values.max()), int(values.argmax())
        spectrum = None if measured.lyapunov is None else measured.lyapunov.layers.get(name)
        rate, steps = (spectrum.largest, spectrum.steps) if spectrum else (math.nan, 0)
        if rate < 0 or (growth <= 10 and not rate * steps > math.log(100)):
            continue
        evidence = {"growth": growth, "at lag": float(lag), "largest Lyapunov exponent": rate}
        says = f"{lag} steps back the gradient is {growth:.3g} times as large as where it begins."
        if rate > 0:
            says += f" Its fastest direction grows by a factor {math.exp(rate):.3g} per step: the longer, the worse."
        remedy = "Clip the gradient's norm (half to ten times its usual size), and begin with orthogonal matrices."
        code = "gateflow.remedies.NormClipper(model, threshold='auto')  # gateflow train lm --clip auto"
        severity = "problem" if growth > 100 else "warning"
        source = f"{_PASCANU}; Mikhaeil, Monfared, Durstewitz (2022), theorem 2. arXiv:2110.07238"
        yield Finding("exploding", severity, name, says, evidence, source, remedy, code)
