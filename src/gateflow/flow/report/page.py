"""What is on the page of a report, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import groupby

from gateflow.flow.dependency import Dependency
from gateflow.flow.excerpts import Excerpt
from gateflow.flow.gates import LayerGates
from gateflow.flow.report.by_lag import by_lag
from gateflow.flow.report.clipping import clipping
from gateflow.flow.report.coloured_text import ColouredText, coloured_text
from gateflow.flow.report.contingency import contingency
from gateflow.flow.report.data import ReportData
from gateflow.flow.report.decay import decay, shares
from gateflow.flow.report.figure import Figure
from gateflow.flow.report.heatmap import grows, heatmap
from gateflow.flow.report.openness import half_lives, openness
from gateflow.flow.report.spectrum import spectrum
from gateflow.flow.report.summary import Fact, facts, subtitle, table, verdict
from gateflow.flow.report.training_curve import training_curve
from gateflow.flow.report.wording import GLOSSARY, READING
from gateflow.flow.rules import Finding, same_lines
from gateflow.flow.sampling import Sampling
from gateflow.flow.what_if import WhatIf

__all__ = ["Content", "Section", "content"]

# Cells along a heatmap's side. A cell takes some six bytes of the page and of each picture
# there are up to three; with more than four layers they are drawn smaller as well.
_SIDE, _SIDE_OF_MANY, _MANY = 256, 128, 4


@dataclass(frozen=True)
class Section:
    """A heading, how to read what follows, figures; a table, coloured text, examples, where they belong."""

    title: str
    reading: str
    figures: Sequence[Figure]
    rows: Sequence[Sequence[str]] = ()
    text: ColouredText = field(default_factory=ColouredText)
    excerpts: Sequence[Excerpt] = ()


@dataclass(frozen=True)
class Card:
    """Findings that differ in nothing but the layer, and an earlier one that has the same remedy, if there is one."""

    findings: Sequence[Finding]
    same: Finding | None


@dataclass(frozen=True)
class Content:
    """All that the template fills in."""

    title: str
    subtitle: str
    verdict: str
    facts: Sequence[Fact]
    findings: Sequence[Card]
    sections: Sequence[Section]
    what_if: WhatIf | None
    horizon: int
    glossary: Mapping[str, str]
    file: str
    maker: str


def content(report: ReportData) -> Content:
    """The report in words and figures."""
    sections = [_reach(report), _decay(report), _shares(report), _spectrum(report), _gates(report), _half_lives(report)]
    sections[2:2] = _by_lag(report)
    sections += [*_tables(report), *_excerpts(report), _training_curve(report), _clipping(report)]
    title = report.context.get("title") or f"Gradient flow of {report.context['model']}"
    return Content(
        title=title,
        subtitle=subtitle(report),
        verdict=verdict(report),
        facts=facts(report),
        findings=_cards(report.findings),
        sections=[section for section in sections if section.figures or section.excerpts],
        what_if=report.what_if,
        horizon=report.reach.horizon,
        glossary=GLOSSARY,
        # What a file may be called everywhere, of a title that may have any letters.
        file=re.sub(r"[^\w-]+", "-", title, flags=re.ASCII).strip("-").lower() or "gradient-flow",
        maker=f"gateflow {version('gateflow')}",
    )


def _reach(report: ReportData) -> Section:
    layers, dependency = list(report.reach.layers.values()), report.context["dependency"]
    side = _SIDE if len(layers) <= _MANY else _SIDE_OF_MANY
    reading = [READING["heatmap"], *([READING["cut"]] if any(layer.cuts for layer in layers) else [])]
    reading += [READING["grows"]] if any(map(grows, layers)) else []
    reading += [READING["first"]] if report.context["tokens"] else []
    pair = Dependency(**dependency) if dependency else None
    figures = [heatmap(layer, _labels(report, layer.name, layer.norms.shape[1]), side, pair) for layer in layers]
    return Section("How far the gradient reaches", _joined(*reading, report.reach.sampling), figures)


def _decay(report: ReportData) -> Section:
    figure = decay(report.reach, report.context["needed_lag"], report.context["window"])
    return Section("How it fades with distance", READING["decay"], [figure], table(report))


def _shares(report: ReportData) -> Section:
    reading = _joined(READING["shares"], report.terms.sampling) if report.terms else ""
    return Section("Where the weights' gradient comes from", reading, shares(report.terms) if report.terms else ())


def _spectrum(report: ReportData) -> Section:
    figures = [spectrum(report.lyapunov)] if report.lyapunov else []
    return Section("The rate at which it fades or grows", READING["spectrum"], figures)


def _gates(report: ReportData) -> Section:
    layers, dependency = report.gates.layers if report.gates else {}, report.context["dependency"]
    labels = {name: _labels(report, name, _steps(layer)) for name, layer in layers.items()}
    text = coloured_text(layers, labels, Dependency(**dependency).named if dependency else {})
    reading = _joined(READING["openness"], READING["first"] if any(labels.values()) else "Means over the batch.")
    figures = [openness(layer, labels[name]) for name, layer in layers.items()]
    return Section("What the gates do", reading, figures, text=text)


def _half_lives(report: ReportData) -> Section:
    layers = report.gates.layers.values() if report.gates else []
    figures = [half_lives(layer, report.context["needed_lag"]) for layer in layers]
    return Section("How long units remember", READING["half-lives"], [figure for figure in figures if figure])


def _by_lag(report: ReportData) -> Iterator[Section]:
    for each in report.by_lag:
        yield Section(each.title, each.reading, [by_lag(each)], [["lag", *each.lines], *each.rows()])


def _tables(report: ReportData) -> Iterator[Section]:
    for (title, reading), tables in groupby(report.tables, key=lambda table: (table.title, table.reading)):
        yield Section(title, reading, [contingency(table) for table in tables])


def _excerpts(report: ReportData) -> Iterator[Section]:
    return (Section(each.title, each.reading, (), excerpts=each.items) for each in report.excerpts)


def _training_curve(report: ReportData) -> Section:
    figure = training_curve(report.context.get("history") or ())
    return Section("How it went in training", READING["training"], [figure] if figure else [])


def _clipping(report: ReportData) -> Section:
    figure = clipping(report.context.get("clip_history") or ())
    return Section("What clipping did in training", READING["clipping"], [figure] if figure else [])


def _cards(findings: Sequence[Finding]) -> list[Card]:
    """Findings that differ in nothing but the layer stand together, and each remedy is given once."""

    def remedy(finding: Finding) -> tuple[str, ...]:
        return finding.severity, finding.name, finding.remedy, finding.code, finding.source

    # Neighbours only, for findings are in the order of their severity already.
    groups = [list(group) for _, group in groupby(findings, key=remedy)]
    return [Card(group, same) for group, same in zip(groups, same_lines([group[0] for group in groups]), strict=True)]


def _labels(report: ReportData, layer: str, steps: int) -> Sequence[str]:
    """The tokens of the first row; none for a layer with a clock of its own, such as one over the letters of words."""
    tokens = report.context["tokens"] or ()
    if isinstance(tokens, Mapping):
        return next((words for part, words in tokens.items() if layer.startswith(part) and len(words) <= steps), ())
    return tokens if steps == report.context["steps"] else ()


def _steps(layer: LayerGates) -> int:
    return next((len(activation.values) for activation in layer.activations.values()), 0)


def _joined(*parts: str | Sampling) -> str:
    return " ".join(part if isinstance(part, str) else f"{str(part).capitalize()}." for part in parts)
