"""The verb ``evaluate``: how good a translator is on pairs, by length too, with BLEU and chrF as others count them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateflow.data.parallel import ParallelText, two_files
from gateflow.files import appears_whole
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.predictions import refuse_bad_output
from gateflow.tasks.translator.data import own_pairs, read_pairs
from gateflow.tasks.translator.ensemble import Translating, ensemble_of, runs_beside
from gateflow.tasks.translator.features import Features
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.measures import Measures, refuse_other_tokenize, sacrebleu_scores
from gateflow.tasks.translator.prediction import Answer, predict
from gateflow.tasks.translator.run import TranslatorRun
from gateflow.tasks.translator.search import Search, refuse_without_attention, search_of
from gateflow.tasks.translator.tokens import Vocabularies

__all__ = ["Evaluation", "evaluate", "evaluate_run"]


@dataclass
class Evaluation:
    """The figures, and how fast they were found.

    Attributes:
        measures: of all pairs.
        answers: of each.
        scores: BLEU and chrF; empty where sacrebleu is not installed.
        seconds: of translations alone.
    """

    measures: Measures = field(default_factory=Measures)
    answers: list[Answer] = field(default_factory=list)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0


def evaluate(
    model: Translating,
    vocabularies: Vocabularies,
    pairs: Sequence[ParallelText],
    search: Search,
    *,
    tokenize: str = "13a",
    track: Any = None,
) -> Evaluation:
    """Translate sources whose targets are known, and compare: the same translations as of new text.

    Args:
        model, vocabularies, search: as for `predict`.
        pairs: with all targets that are right.
        tokenize: sacrebleu's.
        track: what shows progress.
    """
    # Once for nothing: kernels are built or loaded before the clock starts.
    _ = list(predict(model, vocabularies, pairs[:1], search))
    found, began = Evaluation(), time.perf_counter()
    given = predict(model, vocabularies, pairs, search)
    found.answers = list(given if track is None else track(given, "translating", len(pairs)))
    found.seconds = time.perf_counter() - began
    units = vocabularies.target.units
    for pair, answer in zip(pairs, found.answers, strict=True):
        found.measures.add([units(text) for text in pair.targets], units(answer.best.text))
    if has_sacrebleu():
        texts = [answer.best.text for answer in found.answers]
        found.scores = sacrebleu_scores(texts, [pair.targets for pair in pairs], tokenize)
    return found


def has_sacrebleu() -> bool:
    """Whether BLEU and chrF can be told."""
    return find_spec("sacrebleu") is not None


def evaluate_run(
    given: Given,
    data: Path | None,
    target_data: Path | None,
    predictions: Path | None,
    bleu_tokenize: str,
    ensemble: str | None = None,
    **searching: Any,
) -> Tables:
    """The verb ``evaluate``: see `evaluate`, `ensemble_of`, and `search_of` for the options of the search.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: a file is missing, or holds no pairs.
        ConfigError: the file for predictions is one with data, or a part of a run; sacrebleu cannot do what is asked;
            a run of the ensemble does not fit; the search takes attention, and there is none.
        WriteError: the file for predictions cannot be written.
    """
    run: TranslatorRun = given.run
    refuse_other_tokenize(bleu_tokenize)
    vocabularies = load_vocabularies(run)
    others = runs_beside(run, ensemble)
    path, targets = (None, None) if data is None else two_files(data, target_data)
    for each in (run, *others):
        refuse_bad_output(predictions, each, {"--data": path, "--target-data": targets})
    model = ensemble_of(load_model(run, vocabularies), vocabularies, others)
    pairs = own_pairs(run, "valid") if path is None else read_pairs(path, targets, run.config().data)
    search = search_of(run, **searching)
    refuse_without_attention(search, model)
    pairs = [*Features(vocabularies).looked_at(pairs)]
    found = evaluate(model, vocabularies, pairs, search, tokenize=bleu_tokenize, track=given.track)
    if predictions is not None:
        _write_predictions(predictions, pairs, found.answers)
    return Tables([_by_length(found.measures)], _as_data(found), list(_lines(found, vocabularies)))


def _as_data(found: Evaluation) -> dict[str, Any]:
    by_length = {name: {"pairs": group.pairs, **group.figures()} for name, group in found.measures.by_length()}
    cut = sum(not answer.best.ended for answer in found.answers)
    counts = {"pairs": found.measures.whole.pairs, "tokens": found.measures.whole.tokens, "cut": cut}
    return {**found.measures.figures(), **counts, **found.scores, "by_length": by_length, "seconds": found.seconds}


def _lines(found: Evaluation, vocabularies: Vocabularies) -> Iterator[str]:
    figures, whole = found.measures.figures(), found.measures.whole
    what = {"word": "tokens", "bpe": "words"}.get(vocabularies.target.kind, "characters")
    yield (
        f"{_percent(figures['exact_match'])} of {whole.pairs:,} translations exactly right (error rate "
        f"{_percent(1 - figures['exact_match'])}), {_percent(figures['error_rate'])} edits per {what[:-1]}"
    )
    for name, score in found.scores.items():
        yield f"{ {'bleu': 'BLEU', 'chrf': 'chrF'}[name] } {score['score']:.2f} ({score['signature']})"
    if not found.scores:
        yield "BLEU and chrF are not told, for sacrebleu is not installed: pip install 'gateflow[translation]'"
    if cut := sum(not answer.best.ended for answer in found.answers):
        yield f"{cut:,} translations came to no end and were cut (--max-length)"
    seconds = max(found.seconds, 1e-9)
    yield f"{whole.pairs / seconds:,.0f} pairs a second"


def _by_length(measures: Measures) -> Table:
    rows = [
        (name, *(_percent(figure) for figure in group.figures().values()), f"{group.pairs:,}")
        for name, group in measures.by_length()
    ]
    return Table(("tokens", "exact", "edits per token", "right at their place", "pairs"), rows, title="by length")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _write_predictions(file: Path, pairs: Sequence[ParallelText], answers: Sequence[Answer]) -> None:
    """A JSON object a line: the source, what is right, and the translation."""
    with appears_whole(file) as out:
        for pair, answer in zip(pairs, answers, strict=True):
            told = {"source": pair.source, "target": list(pair.targets), "translation": answer.best.text}
            told |= {"features": pair.features} if pair.features else {}
            out.write((json.dumps(told, ensure_ascii=False) + "\n").encode())
