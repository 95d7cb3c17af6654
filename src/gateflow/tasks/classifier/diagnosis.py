"""The gradient flow of a classifier: which steps of an example its label has learnt from, and how far they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gateflow.flow import ContingencyTable, Finding, LayerReach, Report, input_reach
from gateflow.layers import Recurrent
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.classifier.batches import Batch, Encoded
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.evaluation import measured
from gateflow.tasks.classifier.inputs.base import Asked, Input
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.loading import input_of, load, load_encoder, load_targets
from gateflow.tasks.classifier.measures import Measures
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import predict
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels, known
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import (
    confusion_table,
    diagnose_with_history,
    horizon_of,
    judged,
    report_without_recurrence,
    with_inputs,
)

__all__ = ["compared", "diagnose_run", "label_shares"]

# Examples in a report, the longest; and steps of them that are looked at: reach is a matrix of steps by steps.
REPORTED, LONGEST = 8, 1000
# Steps of an example that is looked at by itself, about; and how many examples one is chosen from.
READABLE, CHOSEN_FROM = 20, 1000


def diagnose_run(run: ClassifierRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a classifier from reaching farther, on its validation part or on other examples.

    One finding is in the task's words: of the gradient of the label of an example, how much arrives at which step.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no labelled examples.
        FlowError: a needed lag below 1.
    """
    learnt, config = load(run), run.config()
    kind = input_of(config)
    if data is None:
        examples = own_examples(run, learnt.targets, "valid")
    else:
        names = learnt.targets.numbers if isinstance(learnt.targets, Labels) else ()
        asked = Asked(known=names, channels=learnt.encoder.channel_names)
        examples = [learnt.encoder.fitting(x) for x in kind.read(data, config, asked)]
    tables = list(confusions(learnt, kind, examples))
    learnt.encoder.longest = min(LONGEST, learnt.encoder.longest)
    found = with_labels(learnt, examples)
    chosen = reported(learnt, found)
    report = of_batch(run, learnt.model, encoded(learnt, chosen), needed_lag, learnt.encoder.names(chosen[0]))
    # One that a reader takes in at a glance.
    lengths = Encoded(learnt.encoder, found).lengths
    telling = found[min(range(len(found)), key=lambda i: (abs(lengths[i] - READABLE), -lengths[i]))]
    told = of_a_label(learnt, kind, telling)
    return replace(report, findings=(*report.findings, *([told] if told else [])), tables=(*tables,))


def of_batch(
    run: ClassifierRun, model: ClassifierModel, batch: Batch, needed_lag: int | None, tokens: Sequence[str]
) -> Report:
    """The report on some examples, with reach to what was read."""
    same: dict[str, Any] = {"needed_lag": needed_lag, "tokens": tokens}
    inputs = reach_to_inputs(model, batch)
    if isinstance(model.layers, Recurrent):
        report = diagnose_with_history(run, model, batch, _loss, **same)
        return report if inputs is None else with_inputs(report, inputs)
    assert inputs is not None, "a Transformer is given no missing values"
    with torch.no_grad():
        loss = float(_loss(model, batch))
    more: dict[str, Any] = {"units": model.layers.output_size, "among": len(batch.steps) if model.per_step else 1}
    return report_without_recurrence(run, model, inputs, loss, **more, **same)


def reach_to_inputs(model: ClassifierModel, batch: Batch) -> LayerReach | None:
    """How much of the gradient of a label arrives at what was read before it; none where values are left to the cell.

    Raises:
        FlowError: none arrives.
    """
    assert batch.targets is not None, "a label is what is followed back"
    with evaluating(model), torch.enable_grad():
        vectors = model.vectors(batch).detach().requires_grad_()
        if not vectors.isfinite().all():
            return None
        scores, targets, there = model.scores(vectors, batch), batch.targets, known(batch.targets)
        ends = batch.lengths.cumsum(0)
        steps = torch.arange(len(batch.steps), device=ends.device)[:, None]
        if model.per_step:
            # Scores and targets lie row after row, as long as each is.
            place = (ends - batch.lengths + steps).clamp(max=len(targets) - 1)
            counted = (steps < batch.lengths) & there[place]
        else:
            place, steps = torch.arange(len(targets), device=ends.device)[None], (batch.lengths - 1)[None]
            counted = (steps >= 0) & there[place]

        def loss_at(t: int) -> Tensor:
            each = [model.losses(scores[i : i + 1], targets[i : i + 1]) for i in place[t].tolist()]
            return torch.where(counted[t], torch.stack(each), 0.0)

        return input_reach(loss_at, vectors, torch.where(counted, steps, -1))


def compared(run: ClassifierRun, model: ClassifierModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the longest validation examples."""
    learnt = Learnt(model, load_encoder(run), load_targets(run))
    learnt.encoder.longest = min(LONGEST, learnt.encoder.longest)
    chosen = reported(learnt, with_labels(learnt, own_examples(run, learnt.targets, "valid")))
    batch = encoded(learnt, chosen).to(model.head.weight.device)
    parameters = sum(weight.numel() for weight in model.layers.parameters())
    target = "step" if learnt.targets.per_step else input_of(run.config()).one
    return Compared(parameters, horizon_of(model, batch, _loss), len(batch.steps) - 1, target)


def confusions(learnt: Learnt, kind: Input[Any], examples: Sequence[Any]) -> Iterator[ContingencyTable]:
    """Which label is given for which, as `evaluate` counts; nothing where there are several, or numbers."""
    if not isinstance(learnt.targets, Labels) or learnt.targets.multi_label:
        return
    examples = judged(examples)
    measures = measured(learnt.targets, examples, list(predict(learnt, examples)))
    assert isinstance(measures, Measures)
    steps = f"{len(measures.gold):,} steps of " if learnt.targets.per_step else ""
    yield confusion_table(measures.confusion(), f"{steps}{len(examples):,} {kind.many}")


def with_labels(learnt: Learnt, examples: Sequence[Any]) -> list[Any]:
    """Those of the first examples whose loss can be followed back; the very first where there is none."""
    return [x for x in examples[:CHOSEN_FROM] if x.key and _has_known_labels(learnt, x)] or list(examples[:1])


def reported(learnt: Learnt, examples: Sequence[Any]) -> list[Any]:
    """The longest examples, the longest first."""
    lengths = Encoded(learnt.encoder, examples).lengths
    return [examples[i] for i in sorted(range(len(examples)), key=lambda i: -lengths[i])[:REPORTED]]


def encoded(learnt: Learnt, examples: Sequence[Any]) -> Batch:
    """Some examples as one batch."""
    return Encoded(learnt.encoder, examples, learnt.targets).batch(range(len(examples)))


def label_shares(model: ClassifierModel, batch: Batch) -> Tensor:
    """``[T]``, what part of the gradient of one example's label arrives at each of its steps.

    ``‖∂E / ∂v_k‖ / Σ_k ‖∂E / ∂v_k‖``, where ``E`` is the loss of the example and ``v_k`` what the layers read at step
    ``k``. Where each step has a label, ``E`` is the loss of the last one that is known.

    Args:
        model: in any mode.
        batch: of one example, with its label.

    Source: saliency by gradients, Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034; for words Li et al. (2016),
    Visualizing and understanding neural models in NLP, NAACL.
    """
    assert batch.targets is not None, "a label is what is followed back"
    with evaluating(model):
        vectors = model.vectors(batch).detach()
        # A missing value that is left to the cell is no number that could be varied.
        there = vectors.isfinite()
        vectors.requires_grad_()
        scores, targets = model.scores(vectors, batch), batch.targets
        if model.per_step:
            last = known(targets).nonzero()[-1:, 0]
            scores, targets = scores[last], targets[last]
        (gradient,) = torch.autograd.grad(model.losses(scores, targets), vectors)
    norms = torch.where(there, gradient, 0)[:, 0].norm(dim=-1)
    # Nothing arrives anywhere where the label is certain to the last digit.
    return norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)


def of_a_label(learnt: Learnt, kind: Input[Any], example: Any) -> Finding | None:
    """Where the label of one example has its gradient from, and from how far before its end."""
    names, batch = learnt.encoder.names(example), encoded(learnt, [example])
    if len(names) < 2 or batch.targets is None or not known(batch.targets).any():
        return None
    shares = label_shares(learnt.model, batch)
    order = shares.argsort(descending=True).tolist()[:4]
    last = int(known(batch.targets).nonzero()[-1]) if learnt.targets.per_step else len(names) - 1
    told = ", ".join(f"{_percent(shares[k])} arrives at {_named(kind, names, k)}, {_place(last - k)}" for k in order)
    back = _reaching_back(shares)
    what = kind.steps if kind.steps == "steps" else "tokens"
    return Finding(
        "label-gradient",
        "healthy",
        _called(kind, example, names, what),
        f"Of the gradient of {_target(learnt, example)}, {told}. Nine tenths of it arrive within the last {back} of "
        f"{len(names)} {what}.",
        {what: len(names), "reach": back, "first_half": float(shares[: len(names) // 2].sum())},
        "Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034",
        "",
        "",
    )


def _has_known_labels(learnt: Learnt, example: Any) -> bool:
    """Whether a loss has something to follow back."""
    if not example.labels:
        return False
    if not isinstance(learnt.targets, Labels):
        return True
    names = [str(label) in learnt.targets.numbers for label in example.labels]
    return any(names) if learnt.targets.per_step else all(names)


def _target(learnt: Learnt, example: Any) -> str:
    if learnt.targets.per_step:
        return f"the last step's label '{next(x for x in reversed(example.labels) if x != '')}'"
    names = " and ".join(f"'{label}'" for label in example.labels)
    return f"the label {names}" if isinstance(learnt.targets, Labels) else f"the number {example.labels[0]}"


def _named(kind: Input[Any], names: Sequence[str], k: int) -> str:
    return f"step {names[k]}" if kind.steps == "steps" else repr(names[k])


def _called(kind: Input[Any], example: Any, names: Sequence[str], what: str) -> str:
    """Which example it is: a text by its beginning, others by their name."""
    if kind.steps == "steps":
        return f"{next(iter(kind.called(example).values()))}, {len(names)} {what}"
    return f"{' '.join(names[:3]) + (' …' if len(names) > 3 else '')!r}, {len(names)} {what}"


def _reaching_back(shares: Tensor) -> int:
    """How many of the last steps have nine tenths of all that arrives."""
    return int((shares.flip(0).cumsum(0) < 0.9).sum()) + 1


def _loss(model: Any, batch: Batch) -> Tensor:
    assert batch.targets is not None, "a label is what is followed back"
    return model.losses(model(batch), batch.targets) / len(batch.lengths)


def _percent(share: Tensor) -> str:
    return f"{100 * float(share):.0f} %"


def _place(steps: int) -> str:
    if steps < 0:
        return f"{-steps} step{'s' * (steps < -1)} behind it"
    return "the last step" if steps == 0 else f"{steps} step{'s' * (steps > 1)} before the end"
