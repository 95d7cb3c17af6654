"""Gradients that shrink or grow with the distance in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gateflow.flow.measurements import Measurements, flat_loss
from gateflow.flow.rules.finding import Finding, chrono
from gateflow.flow.table import Share

__all__ = ["exploding", "short_half_life", "vanishing"]

_PASCANU = "Pascanu, Mikolov, Bengio (2013), sections 2.1 and 3. arXiv:1211.5063"
# One remedy of two findings, which a report therefore gives once.
LONGER = "Begin with memories as long as the task's lags (chrono), and train again from there."
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
        evidence["share of the weight's gradient from that lag on"] = Share(beyond, layer.decay.floor)
    says = f"1 % of the gradient is left {layer.horizon} steps back, and {measured.left} of it {measured.lag} back."
    says += f" The task needs {needed} steps." if needed else " Whatever lies farther back hardly teaches anything."
    if flat_loss(measured.series("loss")):
        says += " The loss stands still as well: see to the reach before the learning rate."
    remedy, *lines = _longer(measured, needed or measured.longest)
    severity = "problem" if needed else "warning"
    yield Finding("vanishing", severity, layer.name, says, evidence, _PASCANU, remedy, *lines)


def _longer(measured: Measurements, lag: int) -> tuple[str, str, str]:
    # Chrono draws biases of the gates that keep; without
    # such a gate, or without biases, it has nothing to draw.
    cell = measured.cell(measured.farthest.name)
    if cell.keeps and cell.bias:
        return LONGER, *chrono(lag)
    if type(cell).__name__ == "ElmanReLU":
        return "Begin with the identity, and clip.", "gateflow.remedies.init.identity(model)", "--init identity"
    if cell.gates and not cell.keeps:
        remedy = "Use a cell whose gates keep a memory; with this one, begin with orthogonal matrices, and clip."
        return remedy, 'gateflow.Recurrent("lstm", ...)  # or gateflow.remedies.init.orthogonal(model)', "--cell lstm"
    return "Use a cell with gates that keep a memory.", 'gateflow.Recurrent("lstm", ...)', "--cell lstm"


def short_half_life(measured: Measurements) -> Iterator[Finding]:
    """A problem where reach ends before the needed lag, and memories do: in no layer one in a thousand outlasts it.

    A memory is what one unit holds at one step, and it has outlasted a lag if 1 % of it is left. So a unit that is
    reset at times is judged between its resets. Units that forget do no harm while the gradient arrives by way of the
    recurrent matrix, or by another layer.

    Own measurement, just beyond the horizon, in the layer that remembers best: models that work have 0.45 to 0.58 %
    (characters, one to three layers, LSTM and GRU), 16 % (a tagger), 37 and 63 % (recognisers of writing); torch's
    initial weights have 0.004 % at most. Half-lives do not tell them apart: medians of 0.4 to 0.9 steps, and of 1.0.
    """
    lasting = {name: layer.outlasting(measured.lag) for name, layer in measured.gates.layers.items()}
    if not measured.short or any(share >= 0.001 for share in lasting.values()):
        return
    for name, layer in measured.gates.layers.items():
        if layer.half_lives is None or layer.keeper is None or math.isnan(lasting[name]):
            continue
        median, longest = layer.half_lives.quantile(layer.half_lives.new_tensor([0.5, 0.9])).tolist()
        evidence = {"half-life": median, "half-life of the longest tenth": longest, "memories that last": lasting[name]}
        gate, sign = layer.keeper
        says = (
            f"The {gate} gates {'close' if sign > 0 else 'open'} too early: of what the units hold, {lasting[name]} "
            f"outlasts {measured.lag} steps; half of the units forget within {median:.1f} steps."
        )
        says += f" The task needs {measured.needed_lag}."
        where = f"{name} {gate}"
        yield Finding("short-half-life", "problem", where, says, evidence, _CHRONO, LONGER, *chrono(measured.lag))


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
        code, severity = (
            "gateflow.remedies.NormClipper(model, threshold='auto')",
            "problem" if growth > 100 else "warning",
        )
        source = f"{_PASCANU}; Mikhaeil, Monfared, Durstewitz (2022), theorem 2. arXiv:2110.07238"
        yield Finding("exploding", severity, name, says, evidence, source, remedy, code, "--clip auto")
