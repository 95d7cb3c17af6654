"""Tagging as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.data.tagged import TaggedSentence, read_tagged
from gateflow.errors import DataError, RunError
from gateflow.runs.weights import read_header
from gateflow.tasks.tagger.batches import TaggedBatch
from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.decoding import best_tags
from gateflow.tasks.tagger.encoding import EncodedSentences, encoded_batch
from gateflow.tasks.tagger.loading import build_model, load_vocabulary, refuse_other_model
from gateflow.tasks.tagger.measures import Measures
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["TaggerTask", "own_sentences"]


class TaggerTask:
    """The `Task` of giving each word of a sentence its tags.

    A validation is judged by the F1 of the entities where tags mark some, else by the share of right tags; where there
    are several columns, by the mean over them.

    Raises:
        ConfigError: more processes than sentences in a batch.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    unit = "words"

    def __init__(self, run: TaggerRun, config: TaggerConfig, rank: int = 0, world_size: int = 1) -> None:
        self.vocabulary = load_vocabulary(run)
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        weights = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(weights, config.model, self.vocabulary, run.checkpoint_file)
        self.model: TaggerModel = build_model(config.model, self.vocabulary)
        self.train, self.valid = (own_sentences(run, self.vocabulary, part) for part in ("train", "valid"))
        size, seed = config.training.batch_size, config.training.seed
        lengths = [len(sentence.words) for sentence in self.train]
        self.buckets = LengthBuckets(lengths, size, seed, rank=rank, world_size=world_size)
        # By length, so that hardly anything is padding; each process validates its share.
        ordered = sorted(self.valid[rank::world_size], key=lambda sentence: len(sentence.words))
        self.valid_batches = [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]
        self.encoded = EncodedSentences(self.vocabulary, self.train)
        self.measures = [
            ColumnMeasure(column, alone=len(self.vocabulary.columns) == 1) for column in self.vocabulary.columns
        ]

    @property
    def metric(self) -> Metric:
        """That of the one column, or the mean over the columns."""
        return (self.measures[0].name if len(self.measures) == 1 else "mean", "max")

    def start(self) -> Start:
        """Nothing: each sentence is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the sentences."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int) -> Iterator[TaggedBatch]:
        """The batches in an order that seed and epoch decide."""
        for numbers in self.buckets.batches(epoch, start):
            yield self.encoded.batch(numbers)

    def loss(self, model: nn.Module, batch: TaggedBatch, carried: State) -> tuple[Tensor, int, State]:
        """Mean nats per word, summed over the columns."""
        here = batch.to(self.model.embedding.weight.device)
        words = int(batch.lengths.sum())
        losses = self.model.losses(model(here), here)
        return torch.stack(list(losses.values())).sum() / words, words, None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Summed loss of the validation sentences, right tags of each column, and entities counted."""
        device = self.model.embedding.weight.device
        # Each of them from the start: what processes add up has to be the same in all, sentences or none.
        sums, words = dict.fromkeys(["loss", *(key for measure in self.measures for key in measure.counts)], 0.0), 0
        for sentences in self.valid_batches:
            batch = encoded_batch(self.vocabulary, sentences).to(device)
            scores = self.model(batch)
            words += int(batch.lengths.sum())
            sums["loss"] += float(torch.stack(list(self.model.losses(scores, batch).values())).sum())
            for measure in self.measures:
                found = best_tags(self.model, measure.column, scores[measure.column.name], batch.lengths)
                measure.add(sums, [sentence.tags[measure.column.name] for sentence in sentences], found)
        return sums, words

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """The measure of each column; their mean, if there are several."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        found = {measure.name: measure.figure(means) for measure in self.measures}
        return found if len(found) == 1 else {**found, "mean": fmean(found.values())}


class ColumnMeasure:
    """What a column is judged by while training: the F1 of its entities, or the share of right tags."""

    def __init__(self, column: Column, *, alone: bool):
        self.column, self.kind = column, "f1" if column.scheme else "accuracy"
        self.name = self.kind if alone else f"{self.kind}_{column.name}"
        self.counts = self._right, self._either = f"_right_{self.name}", f"_either_{self.name}"

    def add(self, sums: dict[str, float], wanted: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> None:
        """Count the tags of some sentences."""
        measures = Measures(self.column.scheme)
        for gold, ours in zip(wanted, found, strict=True):
            measures.add(gold, ours)
        score = measures.micro()
        sums[self._right] += score.correct
        sums[self._either] += score.gold + score.predicted

    def figure(self, means: Mapping[str, float]) -> float:
        """The measure, out of what was counted per word."""
        right, either = means[self._right], means[self._either]
        # F1 = 2 · right / (found + wanted), which for plain tags is the share of right ones; a part without entities
        # has none to find.
        return 2 * right / either if either else 0.0


def own_sentences(run: TaggerRun, vocabulary: Vocabulary, part: str) -> list[TaggedSentence]:
    """The sentences of a part of a run, as its set-up has written them.

    Raises:
        RunError: the file is missing or damaged.
    """
    remedy = "set the run up again with `gateflow train tagger --force`"
    file = run.unharmed(run.sentences_file(part), remedy)
    names = [column.name for column in vocabulary.columns]
    try:
        found = list(read_tagged(file, words="1", columns=[str(i) for i in range(2, 2 + len(names))]))
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {remedy}.") from error
    found = [replace(s, tags=dict(zip(names, s.tags.values(), strict=True))) for s in found]
    for column in vocabulary.columns:
        if strangers := {tag for s in found for tag in s.tags[column.name]} - set(column.labels):
            raise RunError(f"{file} has the tag {min(strangers)!r:.80}, which the run's vocabulary lacks; {remedy}.")
    return found
