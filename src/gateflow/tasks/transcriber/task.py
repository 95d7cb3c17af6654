"""Transcription as a `Task` of the training loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gateflow.data.bucketing import LengthBuckets
from gateflow.data.transcripts import plain
from gateflow.decoding.ctc import best_path
from gateflow.runs.weights import read_header
from gateflow.tasks.transcriber.batches import Batch, Encoded
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.loading import build_model, load_alphabet, load_encoder, refuse_other_model
from gateflow.tasks.transcriber.measures import Errors, character_errors, word_errors
from gateflow.tasks.transcriber.model import TranscriberModel
from gateflow.tasks.transcriber.run import TranscriberRun
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["TranscriberTask"]

told = logging.getLogger(__name__)


class TranscriberTask:
    """The `Task` of writing down what stands or is said in a line.

    A validation is judged by the character error rate of the best path.

    Raises:
        ConfigError: more processes than lines in a batch, or a package is not installed.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    unit = "characters"

    def __init__(self, run: TranscriberRun, config: TranscriberConfig, rank: int = 0, world_size: int = 1) -> None:
        self.alphabet, encoder = load_alphabet(run), load_encoder(run)
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        found = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(found, config, encoder, self.alphabet, run.checkpoint_file)
        self.model: TranscriberModel = build_model(config, encoder, self.alphabet)
        train, valid = own_lines(run, "train"), own_lines(run, "valid")[rank::world_size]
        self.train = Encoded(encoder, train, self.alphabet)
        self.valid = Encoded(encoder, valid, self.alphabet)  # each process validates its share
        self.texts = [str(line.label) for line in valid]
        size = config.training.batch_size
        self.buckets = LengthBuckets(self.train.lengths, size, config.training.seed, rank=rank, world_size=world_size)
        # By length, so that hardly anything is padding.
        order = sorted(range(len(self.valid.lengths)), key=self.valid.lengths.__getitem__)
        self.valid_batches = [order[begin : begin + size] for begin in range(0, len(order), size)]

    @property
    def metric(self) -> Metric:
        """The character error rate."""
        return "cer", "min"

    def start(self) -> Start:
        """Nothing: each line is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches of about one length in one pass over the lines."""
        return len(self.buckets)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches in an order that seed and epoch decide."""
        return map(self.train.batch, self.buckets.batches(epoch, start))

    def loss(self, model: nn.Module, batch: Batch, carried: State) -> tuple[Tensor, int, State]:
        """Mean over the characters of the texts."""
        here = batch.to(self.model.head.weight.device)
        count = 0 if batch.target_lengths is None else int(batch.target_lengths.sum())
        log_probs, lengths = model(here)
        return self.model.losses(log_probs, lengths, here) / max(count, 1), count, None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Sums over the validation lines: loss, and edits and counts of characters and words."""
        sums = [self._counted(model, rows) for rows in self.valid_batches]
        names = ("loss", "_edits", "_characters", "_word_edits", "_words", "_written")
        totals = {name: sum(found[name] for found in sums) for name in names}
        return totals, sum(len(targets) for targets in self.valid.targets)

    def _counted(self, model: nn.Module, rows: list[int]) -> dict[str, float]:
        batch = self.valid.batch(rows).to(self.model.head.weight.device)
        log_probs, lengths = model(batch)
        given = [plain(self.alphabet.text(path.tokens)) for path in best_path(log_probs, lengths)]
        right = [self.texts[i] for i in rows]
        characters, words = (sum(count(right, given), Errors()) for count in (character_errors, word_errors))
        return {
            "loss": float(self.model.losses(log_probs, lengths, batch)),
            "_edits": characters.edits,
            "_characters": characters.count,
            "_word_edits": words.edits,
            "_words": words.count,
            "_written": sum(map(len, given)),
        }

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Character and word error rate."""
        if "_edits" not in means:  # of a record of the training
            return {}
        if not means["_written"]:
            told.info(
                "the validation wrote no character in any line, only blanks. So a network with CTC begins; if it stays "
                "so, train longer or with another --lr, and look whether the texts are those of the lines."
            )
        return {
            "cer": means["_edits"] / max(means["_characters"], 1e-9),
            "wer": means["_word_edits"] / max(means["_words"], 1e-9),
        }
