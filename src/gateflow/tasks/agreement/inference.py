"""An agreement run set up, put to the test, and looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gateflow.data.agreement import BUCKETS, LONGEST, Sentence
from gateflow.errors import ConfigError
from gateflow.flow import Dependency, Report
from gateflow.layers.evaluating import evaluating
from gateflow.runs.best_model import load_best
from gateflow.runs.fit import refuse_other_specs, specs_of
from gateflow.runs.new_run import new_run
from gateflow.runs.weights import unique_tensors
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.model import AgreementModel, SentenceBatch, accuracy, bucket, encode, loss
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.agreement.task import build_model, unseen_sentences
from gateflow.tasks.description import Compared, Given, Table
from gateflow.tasks.diagnosis import diagnose_with_history, horizon_of
from gateflow.training.start import begin_run

__all__ = [
    "REPORTED",
    "begin",
    "compared",
    "diagnose_run",
    "evaluate_run",
    "farthest",
    "first_row",
    "load_model",
    "set_up",
]

# Sentences in a report of the gradient flow, the farthest ones: there the verb needs up to 60 words.
REPORTED = 8
# Sentences among which the farthest are looked for.
PROBED = 150
# Sentences of an evaluation, if the run has as many: the share of right verbs is then known to a point or two.
EVALUATED = 1000


def set_up(path: Path, config: AgreementConfig, *, force: bool = False) -> AgreementRun:
    """A new run at step 0.

    Raises:
        RunError: `path` is taken, or cannot be written.
    """
    with new_run(AgreementRun, path, config, force=force) as run:
        begin_run(run, config, lambda: begin(run, config))
    return AgreementRun.open(path)


def begin(run: AgreementRun, config: AgreementConfig) -> AgreementModel:
    """The network with its initial weights; the words of the grammar are all that it knows of data."""
    return build_model(config.model)


def compared(run: AgreementRun, model: AgreementModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the farthest test sentences."""
    config, device = run.config(), model.embedding.weight.device
    batch = encode(farthest(unseen_sentences(config, min(PROBED, config.data.tested)))).to(device)

    def batch_loss(_: Any, sentences: SentenceBatch) -> Tensor:
        return loss(model, sentences, config.model.word_share)

    parameters = sum(weight.numel() for weight in model.layer.parameters())
    # The last word is only predicted.
    return Compared(parameters, horizon_of(model, batch, batch_loss), len(batch.tokens) - 2, "sentence")


def load_model(run: AgreementRun) -> AgreementModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    model = build_model(run.config().model)
    wanted = specs_of(unique_tensors(model))
    return load_best(run, lambda: model, lambda found, file: refuse_other_specs(found, wanted, file))


def evaluate_run(given: Given, sentences: int | None) -> Table:
    """The verb ``evaluate``: the share of right verbs by distance, and in all."""
    config = given.run.config()
    count = min(EVALUATED, config.data.tested) if sentences is None else sentences
    model, test = load_model(given.run), unseen_sentences(config, count)
    with evaluating(model):
        by_distance = accuracy(model, test, bucket)
        (whole,) = accuracy(model, test, lambda sentence: 0).values()
    counts = {b: sum(bucket(sentence) == b for sentence in test) for b in by_distance}
    found = [(f"{BUCKETS[b][0]} to {BUCKETS[b][-1]} words", share, counts[b]) for b, share in by_distance.items()]
    found.append(("all together", whole, len(test)))
    return Table(
        ("distance", "right", "sentences"),
        [(name, f"{share:.3f}", f"{count:,}") for name, share, count in found],
        json=[dict(zip(("distance", "right", "sentences"), row, strict=True)) for row in found],
        title="How often the right form of the verb has the higher score; guessing is right in half.",
    )


def diagnose_run(run: AgreementRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """The gradient flow on the farthest test sentences, where the verb needs up to 60 words.

    Raises:
        ConfigError: data are given.
        RunError, NonFiniteError: the run's model cannot be used.
        FlowError: a needed lag below 1.
    """
    if data is not None:
        raise ConfigError(f"--data {data}: the sentences of {run.path} come from the grammar; leave --data out.")
    config, model = run.config(), load_model(run)
    chosen = farthest(unseen_sentences(config, min(PROBED, config.data.tested)))

    def batch_loss(_: Any, batch: SentenceBatch) -> Tensor:
        return loss(model, batch, config.model.word_share)

    lag = needed_lag or LONGEST
    # The first one stands for its row in the figures: that in which the subject is nearest to as far as is needed.
    chosen.sort(key=lambda sentence: abs(sentence.distance - lag))
    of_first = first_row(chosen[0])
    return diagnose_with_history(run, model, encode(chosen), batch_loss, needed_lag=lag, **of_first)


def first_row(sentence: Sentence) -> dict[str, Any]:
    """What a report says of the first sentence of a batch: its words, and which of them depends on which."""
    # The last word is only predicted, and each one from the word before.
    pair = Dependency(sentence.subject, sentence.verb - 1, ("subject", "verb"), sentence.verb)
    return {"tokens": sentence.tokens[:-1], "dependency": pair}


def farthest(sentences: list[Sentence]) -> list[Sentence]:
    """The few with the most words between subject and verb, the farthest first."""
    return sorted(sentences, key=lambda sentence: -sentence.distance)[:REPORTED]
