"""The gradient flow of a classifier: which words of a text its label has learnt from, and how far they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gateflow.data.labelled import LabelledText
from gateflow.data.words import Word
from gateflow.flow import Finding, Report
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.classifier.batches import EncodedTexts, TextBatch, targets
from gateflow.tasks.classifier.data import own_texts, read_texts
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.loading import load_labels, load_model, load_vocabulary
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.vocabulary import Vocabulary
from gateflow.tasks.diagnosis import diagnose_with_history

__all__ = ["diagnose_run", "label_shares"]

# Texts in a report, the longest; and tokens of them that are looked at: reach is a matrix of steps by steps.
REPORTED, LONGEST = 8, 200
# Tokens of a text that is looked at by itself, about.
READABLE = 20


def diagnose_run(run: ClassifierRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a classifier from reaching farther, on its validation texts or on others.

    One finding is in the task's words: of the gradient of the label of a text, how much arrives at which word.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no labelled texts.
        FlowError: a needed lag below 1.
    """
    labels, vocabulary = load_labels(run), load_vocabulary(run)
    model, config = load_model(run, vocabulary, labels), run.config().data
    texts = own_texts(run, labels, "valid") if data is None else read_texts(data, config, known=labels.numbers)
    found = [text for text in texts if text.text and known(text, labels)] or texts[:1]
    chosen = sorted(found, key=lambda text: -len(text.text))[:REPORTED]
    most = min(LONGEST, config.longest)
    report = diagnose_with_history(
        run,
        model,
        encoded(vocabulary, labels, chosen, most),
        _loss,
        needed_lag=needed_lag,
        tokens=[token.text for token in vocabulary.cut(chosen[0].text, most)],
    )
    told = of_a_label(model, vocabulary, labels, telling(found, vocabulary), most)
    return replace(report, findings=(*report.findings, *([told] if told else [])))


def known(text: LabelledText, labels: Labels) -> bool:
    """Whether the run has all labels of a text."""
    return all(str(label) in labels.numbers for label in text.labels) and bool(text.labels)


def encoded(vocabulary: Vocabulary, labels: Labels, texts: Sequence[LabelledText], most: int) -> TextBatch:
    """Some texts as one batch."""
    wanted = targets(labels, [text.labels for text in texts])
    return EncodedTexts(vocabulary, [text.text for text in texts], most, wanted).batch(range(len(texts)))


def telling(texts: Sequence[LabelledText], vocabulary: Vocabulary) -> LabelledText:
    """A text that a reader takes in at a glance."""
    # Of some only: cutting all of a corpus would take longer than the measurement.
    return min(texts[:1000], key=lambda text: abs(len(vocabulary.cut(text.text, 4 * READABLE)) - READABLE))


def label_shares(model: ClassifierModel, batch: TextBatch) -> Tensor:
    """``[T]``, what part of the gradient of one text's label arrives at each of its tokens.

    ``‖∂E / ∂v_k‖ / Σ_k ‖∂E / ∂v_k‖``, where ``E`` is the loss of the text and ``v_k`` the vector of token ``k``.

    Args:
        model: in any mode.
        batch: of one text, with its label.

    Source: saliency by gradients, Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034; for words Li et al. (2016),
    Visualizing and understanding neural models in NLP, NAACL.
    """
    assert batch.targets is not None, "a label is what is followed back"
    with evaluating(model):
        vectors = model.vectors(batch).detach().requires_grad_()
        loss = model.losses(model.scores(vectors, batch.lengths), batch.targets)
        (gradient,) = torch.autograd.grad(loss, vectors)
    norms = gradient[:, 0].norm(dim=-1)
    # Nothing arrives anywhere where the label is certain to the last digit.
    return norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)


def of_a_label(
    model: ClassifierModel, vocabulary: Vocabulary, labels: Labels, text: LabelledText, most: int
) -> Finding | None:
    """Where the label of one text has its gradient from, and from how far before its end."""
    tokens = vocabulary.cut(text.text, most)
    if len(tokens) < 2:
        return None
    shares = label_shares(model, encoded(vocabulary, labels, [text], most))
    order = shares.argsort(descending=True).tolist()[:4]
    told = ", ".join(
        f"{_percent(shares[k])} arrives at {tokens[k].text!r}, {_place(len(tokens) - 1 - k)}" for k in order
    )
    back = _reaching_back(shares)
    names = " and ".join(f"'{label}'" for label in text.labels)
    return Finding(
        "label-gradient",
        "healthy",
        f"{_beginning(tokens)!r}, {len(tokens)} tokens",
        f"Of the gradient of the label {names}, {told}. Nine tenths of it arrive within the last {back} of "
        f"{len(tokens)} tokens.",
        {"tokens": len(tokens), "reach": back, "first_half": float(shares[: len(tokens) // 2].sum())},
        "Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034",
        "",
        "",
    )


def _reaching_back(shares: Tensor) -> int:
    """How many of the last tokens have nine tenths of all that arrives."""
    return int((shares.flip(0).cumsum(0) < 0.9).sum()) + 1


def _loss(model: ClassifierModel, batch: TextBatch) -> Tensor:
    assert batch.targets is not None, "a label is what is followed back"
    return model.losses(model(batch), batch.targets) / len(batch.lengths)


def _beginning(tokens: Sequence[Word]) -> str:
    return " ".join(token.text for token in tokens[:3]) + (" …" if len(tokens) > 3 else "")


def _percent(share: Tensor) -> str:
    return f"{100 * float(share):.0f} %"


def _place(steps: int) -> str:
    return "the last step" if steps == 0 else f"{steps} step{'s' * (steps > 1)} before the end"
