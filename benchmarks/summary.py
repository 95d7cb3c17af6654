"""What was set out to be reached, and what was: geometric means over the shapes next to their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import stress
from benchmarks.cases import large
from benchmarks.measure import Figure
from benchmarks.shapes import SHORT
from gateflow.benchmarking.timing import Timing, geometric_mean

OWN = ("peephole_lstm", "layernorm_lstm", "user")
LSTMS = ("lstm", "peephole_lstm")


@dataclass
class Results:
    """All that one run measured."""

    figures: list[Figure] = field(default_factory=list)
    memory: dict[str, int | str] = field(default_factory=dict)
    subnormal: dict[str, Timing] = field(default_factory=dict)
    load: dict[str, Timing] = field(default_factory=dict)


class Row(NamedTuple):
    """One line: `reached` is the mean, `worst` the least favourable figure in it; none if nothing was measured.

    `bound` is what `reached` would be if the products ran at the matrix peak and all else took no time.
    """

    what: str
    target: float
    at_least: bool = True
    reached: float | None = None
    worst: float | None = None
    where: str = ""
    bound: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.reached is None:
            return None
        return self.reached >= self.target if self.at_least else self.reached <= self.target


def rows(results: Results) -> list[Row]:
    """The table of targets, filled in as far as this run went."""
    figures = results.figures
    # The short shape is there for torch.compile alone, and would count twice in a mean.
    training = [f for f in figures if _is(f, "training") and not f.case.shape.lengths and f.case.shape != SHORT]
    inference = [f for f in figures if _is(f, "inference") and not f.case.shape.lengths and f.case.shape != SHORT]
    ragged = [f for f in figures if _is(f, "training") and f.case.shape.lengths]
    # Where products dominate: on small shapes the peak says nothing.
    wide = [f for f in training if f.case.shape.H >= 256 and f.case.shape.B >= 32]
    bf16 = [f for f in figures if _is(f, "training", "bf16") and large(f.case.shape)]
    stream = [f for f in figures if f.case.mode == "step"]
    slowest = _slowest("nowhere slower: LSTM, peephole LSTM, inference too", [*training, *inference])
    return [
        _against("eager", "peephole, LayerNorm, user's cell against the eager loop", 8, training, OWN),
        _against("jax", "peephole, LayerNorm, user's cell against JAX lax.scan", 3, training, OWN),
        _against("torch_nn", "GRU (reset after) against torch.nn.GRU", 1.8, training, ["gru"]),
        _against("torch_nn", "LSTM, peephole LSTM against torch.nn.LSTM", 1.35, training, LSTMS),
        slowest,
        _against("torch_nn", "RNN against torch.nn.RNN", 1.8, training, ["rnn"]),
        _against("torch_nn", "ragged lengths: LSTM against torch.nn.LSTM, packed", 2, ragged, ["lstm"]),
        _mean("share of the matrix peak, H ≥ 256, B ≥ 32", 0.75, wide, lambda f: f.peak_share),
        _against("ours_fp32", "bf16 against our fp32, H ≥ 512, B ≥ 64", 2.5, bf16, ["lstm"]),
        _against("torch_nn", "bf16 against torch.nn.LSTM in bf16", 1, bf16, ["lstm"]),
        _against("torch_nn", "streaming step, B 1, H 256, against torch.nn.LSTMCell", 4, stream, ["lstm"]),
        *_at_most(results),
    ]


def _is(figure: Figure, mode: str, precision: str = "fp32") -> bool:
    return (figure.case.mode, figure.case.precision) == (mode, precision)


def _against(peer: str, what: str, target: float, figures: Iterable[Figure], cells: Sequence[str]) -> Row:
    chosen = [f for f in figures if f.case.cell in cells]
    at_peak = _mean(what, target, chosen, lambda f: _at_peak(f, peer))
    return _mean(what, target, chosen, lambda f: f.speedup(peer))._replace(bound=at_peak.reached)


def _at_peak(figure: Figure, peer: str) -> float | None:
    speedup = figure.speedup(peer)
    # If our products ran at the peak, all else in no time.
    return speedup / figure.peak_share if speedup and figure.peak_share else None


def _mean(what: str, target: float, figures: Iterable[Figure], of: Callable[[Figure], float | None]) -> Row:
    found = [(value, str(figure.case)) for figure in figures if (value := of(figure)) is not None]
    if not found:
        return Row(what, target)
    return Row(what, target, True, geometric_mean([value for value, _ in found]), *min(found))


def _slowest(what: str, figures: Iterable[Figure]) -> Row:
    row = _against("torch_nn", what, 1, figures, LSTMS)
    return row._replace(reached=row.worst, bound=None)


def _at_most(results: Results) -> list[Row]:
    """Where less is better: memory, and the two stress tests."""
    peak, subnormal, load = results.memory, results.subnormal, results.load
    return [
        _ratio("peak memory, fast, against torch.nn.LSTM", 1.0, peak.get("fast"), peak.get("torch_nn")),
        _ratio("peak memory, lean, against torch.nn.LSTM", 0.6, peak.get("lean"), peak.get("torch_nn")),
        _ratio("loss at the end only against loss at all steps", 1.1, *_pair(subnormal, stress.WHERES)),
        _ratio("step under load against alone; half of the cores is 2", 2.0, *_pair(load, stress.WHENS)),
    ]


def _pair(times: dict[str, Timing], names: tuple[str, str]) -> list[float | None]:
    # The same layer in both.
    normal, hard = (times.get(f"ours, {name}") for name in names)
    return [hard.median if hard else None, normal.median if normal else None]


def _ratio(what: str, target: float, ours: object, theirs: object) -> Row:
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return Row(what, target, False, ours / theirs)
    return Row(what, target, False)
