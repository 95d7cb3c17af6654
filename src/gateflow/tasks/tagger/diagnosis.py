"""The gradient flow of a tagger: which words the label of a word has learned from, and how far away they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.data.spans import spans
from gateflow.data.tagged import TaggedSentence
from gateflow.flow import Finding, Report
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import confusion_table, diagnose_with_history, for_task, horizon_of, judged
from gateflow.tasks.tagger.batches import TaggedBatch
from gateflow.tasks.tagger.data import read_as_learnt
from gateflow.tasks.tagger.encoding import encoded_batch
from gateflow.tasks.tagger.evaluation import evaluate
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import own_sentences
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary

__all__ = ["compared", "diagnose_run", "label_shares"]

# Sentences in a report, the longest that are not longer than this: reach is a matrix of words by words.
REPORTED, LONGEST = 8, 200
# Words of a sentence that is looked at by itself, about.
READABLE = 10


def diagnose_run(run: TaggerRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a tagger from reaching farther, on its validation sentences or on others.

    One finding is in the task's words: of the gradient of the label of a word, how much arrives at which word.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or holds no sentences with the run's columns.
        FlowError: a needed lag below 1.
    """
    vocabulary = load_vocabulary(run)
    model = load_model(run, vocabulary)
    config = run.config()
    sentences = (
        own_sentences(run, vocabulary, "valid") if data is None else read_as_learnt(data, config.data, vocabulary)
    )
    chosen = reported(sentences)
    report = diagnose_with_history(
        run, model, encoded_batch(vocabulary, chosen), _loss, needed_lag=needed_lag, tokens=list(chosen[0].words)
    )
    told = of_a_label(model, vocabulary, telling(sentences, vocabulary.columns))
    counted = judged(sentences)
    of_columns = evaluate(model, vocabulary, counted).measures
    what = f"the tags of {len(counted):,} sentences"
    tables = [confusion_table(measures.confusion(), what, name) for name, measures in of_columns.items()]
    return replace(
        report,
        findings=(*report.findings, *([for_task(told, config)] if told else [])),
        tables=(*tables,),
    )


def compared(run: TaggerRun, model: TaggerModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the longest validation sentences."""
    vocabulary = load_vocabulary(run)
    batch = encoded_batch(vocabulary, reported(own_sentences(run, vocabulary, "valid")))
    here = batch.to(model.embedding.weight.device)
    # Of the layers over the sentence alone: how far those reach that read a word's characters is another question.
    with torch.no_grad(), evaluating(model):
        vectors = model.vectors(here)
    found = horizon_of(model, vectors, lambda _, read: _mean(model, model.scores(read, here.lengths), here))
    parameters = sum(weight.numel() for weight in model.recurrent.parameters())
    return Compared(parameters, found, len(here.words) - 1, "word")


def reported(sentences: Sequence[TaggedSentence]) -> list[TaggedSentence]:
    """The longest sentences that are not too long; the beginning of one where all are."""
    fitting = sorted((s for s in sentences if len(s.words) <= LONGEST), key=lambda s: -len(s.words))
    if fitting:
        return fitting[:REPORTED]
    first = min(sentences, key=lambda s: len(s.words))
    return [replace(first, words=first.words[:LONGEST], tags={n: tags[:LONGEST] for n, tags in first.tags.items()})]


def telling(sentences: Sequence[TaggedSentence], columns: Sequence[Column]) -> TaggedSentence:
    """A sentence that a reader takes in at a glance, with an entity of several words if there is one."""
    marking = next((column for column in columns if column.scheme), None)

    def order(sentence: TaggedSentence) -> tuple[int, int]:
        entities = spans(sentence.tags[marking.name], marking.scheme) if marking and marking.scheme else []
        longest = max((span.end - span.begin for span in entities), default=0)
        return -min(longest, 2), abs(len(sentence.words) - READABLE)

    return min(sentences, key=order)


def label_shares(model: TaggerModel, vocabulary: Vocabulary, sentence: TaggedSentence, column: str, t: int) -> Tensor:
    """``[T]``, what part of the gradient of one word's label arrives at each word of its sentence.

    ``‖∂E_t / ∂v_k‖ / Σ_k ‖∂E_t / ∂v_k‖``, where ``E_t = -log softmax(scores_t)[tag]`` and ``v_k`` is what the layers
    read of word ``k``.

    Source: saliency by gradients, Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034; for words Li et al. (2016),
    Visualizing and understanding neural models in NLP, NAACL.
    """
    batch = encoded_batch(vocabulary, [sentence])
    with evaluating(model):
        vectors = model.vectors(batch).detach().requires_grad_()
        scores = model.scores(vectors, batch.lengths)[column][t]
        (gradient,) = torch.autograd.grad(F.cross_entropy(scores, batch.tags[column][t]), vectors)
    norms = gradient[:, 0].norm(dim=-1)
    # Nothing arrives anywhere where the label is certain to the last digit.
    return norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)


def of_a_label(model: TaggerModel, vocabulary: Vocabulary, sentence: TaggedSentence) -> Finding | None:
    """Where the label of one word has its gradient from: of an entity's if there is one, else of a middle one."""
    column = next((c for c in vocabulary.columns if c.scheme), vocabulary.columns[0])
    tags = sentence.tags[column.name]
    if len(tags) < 2:
        return None
    t = next((i for i, tag in enumerate(tags) if column.scheme and tag != "O"), len(tags) // 2)
    shares = label_shares(model, vocabulary, sentence, column.name, t)
    others = [k for k in shares.argsort(descending=True).tolist() if k != t][:3]
    told = ", ".join(f"{_percent(shares[k])} at {sentence.words[k]!r} ({_place(k - t)})" for k in others)
    left, right = shares[:t].sum(), shares[t + 1 :].sum()
    return Finding(
        "label-gradient",
        "healthy",
        f"{sentence.words[t]!r}, word {t + 1} of {len(tags)}",
        f"Of the gradient of the label {tags[t]} of {sentence.words[t]!r}, {_percent(shares[t])} arrives at the word "
        f"itself, {told}; in all {_percent(left)} to the left of it and {_percent(right)} to the right.",
        {"word": sentence.words[t], "itself": float(shares[t]), "left": float(left), "right": float(right)},
        "Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034",
        "" if model.recurrent.bidirectional else "Nothing can arrive from the right: the network reads forwards only.",
        "",
        "" if model.recurrent.bidirectional else "--bidirectional",
    )


def _loss(model: TaggerModel, batch: TaggedBatch) -> Tensor:
    return _mean(model, model(batch), batch)


def _mean(model: TaggerModel, scores: Mapping[str, Tensor], batch: TaggedBatch) -> Tensor:
    return torch.stack(list(model.losses(scores, batch).values())).sum() / batch.lengths.sum()


def _percent(share: Tensor) -> str:
    return f"{100 * float(share):.0f} %"


def _place(steps: int) -> str:
    side = "right" if steps > 0 else "left"
    return f"{abs(steps)} step{'s' * (abs(steps) > 1)} to the {side}"
