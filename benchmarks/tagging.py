"""A tagger on gateflow's layers and the same tagger on torch's: training steps and predictions, in turns.

    python -m benchmarks.tagging [--hidden 128,256,512] [--crf/--no-crf] [--rounds 5] [--json tagging.json]

The model is `TaggerModel` as `gateflow train tagger` builds it: words of 100 components, an LSTM over their characters
of 100, one bidirectional layer, 17 tags, which are four types of entities in BIOES. Its peer has `torch.nn.LSTM` in the
place of both recurrent layers, by packed sequences, and the same weights; no figure unless scores and gradients are the
same. All else, the CRF too, is one code. A step is forward, backward, clipping and AdamW on batches of 32 sentences as
they come: gamma distributed lengths with mean 16, 60 at most, as in the treebanks of Universal Dependencies, and words
of 1 to 12 letters. A prediction begins with words and ends with tags.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.torch_layers import on_torch
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import Call, interleaved
from gateflow.data.spans import labels_of
from gateflow.data.tagged import TaggedSentence
from gateflow.tasks.tagger.batches import TaggedBatch
from gateflow.tasks.tagger.config import TaggerNetworkConfig, TaggerTraining
from gateflow.tasks.tagger.encoding import EncodedSentences, encoded_batch
from gateflow.tasks.tagger.loading import build_model
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.prediction import predict, read_spellings
from gateflow.tasks.tagger.vocabulary import Column, Vocabulary
from gateflow.training.optimizers import build_optimizer

# As many different words as the training part of UD English-EWT has, about; the optimizer updates all of them.
LEXICON = 16_000
BATCHES, ROWS, LONGEST, LETTERS = 3, 32, 60, 12
# Shape and scale of the gamma distribution: mean 16, deviation 11.
LENGTHS = (2.0, 8.0)
# The prediction that is asked about: sentences of 20 words, one layer of 256, one core.
SENTENCES, WORDS, UNITS = 512, 20, 256


@dataclass(frozen=True)
class Figure:
    """Medians of one row.

    Attributes:
        what: training or prediction.
        hidden: units per direction.
        crf: whether a CRF chooses the tags.
        count: words, or sentences where it is prediction.
        ours, torch_nn: seconds.
        share: what part of ours is the CRF, of a training step.
    """

    what: str
    hidden: int
    crf: bool
    count: int
    ours: float
    torch_nn: float
    share: float | None = None


class Text:
    """Sentences of words that nobody has written, and what knows them; the same in every run."""

    def __init__(self) -> None:
        self.random = random.Random(0)
        words = {self._word() for _ in range(2 * LEXICON)}
        self.lexicon = self.random.sample(sorted(words), min(LEXICON, len(words)))
        # By Zipf's law: the k-th word is k times as rare as the first.
        self.weights = [1 / rank for rank in range(1, len(self.lexicon) + 1)]
        column = Column(name="tag", scheme="BIOES", labels=tuple(labels_of(["A", "B", "C", "D"], "BIOES")))
        self.vocabulary = Vocabulary(tuple(self.lexicon), tuple(ascii_lowercase), (column,))

    def _word(self) -> str:
        return "".join(self.random.choices(ascii_lowercase, k=self.random.randint(1, LETTERS)))

    def sentence(self, length: int) -> TaggedSentence:
        """So many words; each is an entity by itself or none, which every CRF allows."""
        words = self.random.choices(self.lexicon, self.weights, k=length)
        tags = self.random.choices(["O", "S-A", "S-B", "S-C", "S-D"], k=length)
        return TaggedSentence(tuple(words), {"tag": tuple(tags)}, line=0)

    def batch(self) -> TaggedBatch:
        """Sentences as they come, of all lengths."""
        lengths = [min(LONGEST, max(1, round(self.random.gammavariate(*LENGTHS)))) for _ in range(ROWS)]
        return encoded_batch(self.vocabulary, [self.sentence(length) for length in lengths])

    def pair(self, hidden: int, crf: bool, dropout: float) -> tuple[TaggerModel, TaggerModel]:
        """A model and its peer."""
        config = TaggerNetworkConfig(hidden_size=hidden, crf=crf, dropout=dropout)
        model = build_model(config, self.vocabulary)
        return model, on_torch(model)


def judge(ours: TaggerModel, peer: TaggerModel, batch: TaggedBatch) -> None:
    """Both give the same scores and the same gradients."""
    found = []
    for model in (ours.eval(), peer.eval()):
        scores = model(batch)
        loss = model.losses(scores, batch)["tag"] / int(batch.lengths.sum())
        found.append((scores["tag"], torch.autograd.grad(loss, list(dict(sorted(model.named_parameters())).values()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def step(model: TaggerModel, batches: Sequence[TaggedBatch]) -> Call:
    """A training step on each batch."""
    model.train()
    settings = TaggerTraining()
    optimizer = build_optimizer(model, settings)

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad()
            (model.losses(model(batch), batch)["tag"] / int(batch.lengths.sum())).backward()
            nn.utils.clip_grad_norm_(model.parameters(), float(settings.clip))
            optimizer.step()

    return run


def crf_alone(model: TaggerModel, batches: Sequence[TaggedBatch]) -> Call:
    """The part of the steps that is the CRF's: its likelihood, and the gradients of scores and transitions."""
    crf = model.crf("tag")
    assert crf is not None
    with torch.no_grad():
        scores = [model(batch)["tag"] for batch in batches]
    wanted = [s.requires_grad_() for s in scores]

    def run() -> None:
        for score, batch in zip(wanted, batches, strict=True):
            likelihood = crf.log_likelihood(score, batch.tags["tag"], batch.lengths).sum()
            torch.autograd.grad(likelihood, [score, *crf.parameters()])

    return run


def training(text: Text, hidden: int, crf: bool, rounds: int) -> Figure:
    """The steps of both."""
    ours, peer = text.pair(hidden, crf, dropout=0.5)
    batches = [text.batch() for _ in range(BATCHES)]
    judge(ours, peer, batches[0])
    calls: dict[str, Call] = {"ours": step(ours, batches), "torch_nn": step(peer, batches)}
    if crf:
        calls["crf"] = crf_alone(ours, batches)
    times = {name: timing.median for name, timing in interleaved(calls, rounds=rounds).items()}
    words = sum(int(batch.lengths.sum()) for batch in batches)
    share = times["crf"] / times["ours"] if crf else None
    return Figure("training", hidden, crf, words, times["ours"], times["torch_nn"], share)


def prediction(text: Text, crf: bool, rounds: int) -> tuple[Figure, dict[str, float]]:
    """From words to tags on one core, and what parts of ours take."""
    ours, peer = text.pair(UNITS, crf, dropout=0.0)
    sentences = [text.sentence(WORDS).words for _ in range(SENTENCES)]
    judge(ours, peer, text.batch())
    calls: dict[str, Call] = {
        name: lambda model=model: list(predict(model, text.vocabulary, sentences))
        for name, model in (("ours", ours), ("torch_nn", peer))
    }
    with one_core():
        times = interleaved(calls | parts(ours, text.vocabulary, sentences), rounds=rounds)
    medians = {name: timing.median for name, timing in times.items()}
    figure = Figure("prediction", UNITS, crf, SENTENCES, medians.pop("ours"), medians.pop("torch_nn"))
    return figure, medians


def parts(model: TaggerModel, vocabulary: Vocabulary, sentences: Sequence[Sequence[str]]) -> dict[str, Call]:
    """What a prediction is made of, batch by batch."""
    tagged = [TaggedSentence(tuple(words), {}, line=0) for words in sentences]
    encoded = EncodedSentences(vocabulary, tagged)
    rows = [range(begin, min(begin + 64, len(tagged))) for begin in range(0, len(tagged), 64)]
    read = read_spellings(model, encoded)
    batches = [encoded.batch(some, read) for some in rows]
    with torch.inference_mode():
        inputs = [model.vectors(batch) for batch in batches]
        hidden = [model.recurrent(x, lengths=b.lengths)[0] for x, b in zip(inputs, batches, strict=True)]
        scores = [model.heads[0](h) for h in hidden]
    pairs = list(zip(inputs, batches, strict=True))
    calls: dict[str, Callable[[], Any]] = {
        "words to numbers": lambda: EncodedSentences(vocabulary, tagged),
        "characters": lambda: read_spellings(model, encoded),
        "batches": lambda: [encoded.batch(some, read) for some in rows],
        "vectors of words": lambda: [model.vectors(batch) for batch in batches],
        "layer": lambda: [model.recurrent(x, lengths=batch.lengths) for x, batch in pairs],
    }
    if (crf := model.crf("tag")) is not None:
        chosen = list(zip(scores, batches, strict=True))
        calls["best sequences"] = lambda: [crf.decode(score, batch.lengths) for score, batch in chosen]
    return {name: torch.inference_mode()(call) for name, call in calls.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """Within the block one thread computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def show(figures: Sequence[Figure], taken: dict[str, float], console: Console) -> None:
    """Tables of training and of prediction."""
    facts = machine()
    where = f"{facts['cpu']}, {facts['instructions']}"
    for what, unit in (("training", "words"), ("prediction", "sentences")):
        threads = f"threads {facts['threads']}" if what == "training" else f"one core, {WORDS} words a sentence"
        table = Table("hidden", "CRF", f"{unit}/s", "torch.nn", "ratio", box=None)
        if what == "training":
            table.add_column("CRF's share")
        for f in (f for f in figures if f.what == what):
            speeds = (f"{f.count / seconds:,.0f}" for seconds in (f.ours, f.torch_nn))
            share = [] if what == "prediction" else ["" if f.share is None else f"{f.share:.1%}"]
            table.add_row(str(f.hidden), "yes" if f.crf else "no", *speeds, f"{f.torch_nn / f.ours:.2f}", *share)
        # Not as the table's title, which would wrap at its width.
        console.print(f"{what}, {where}, {threads}; medians", table, "", sep="\n")
    whole = next(f.ours for f in reversed(figures) if f.what == "prediction")
    told = ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in taken.items())
    console.print(f"Of the last prediction: {told}.", style="dim")


def main(words: Sequence[str] | None = None) -> None:
    """Print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=lambda text: [int(n) for n in text.split(",")], default=[128, 256, 512])
    parser.add_argument("--crf", action=argparse.BooleanOptionalAction, help="with a CRF or without; else both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args(words)
    torch.manual_seed(0)
    text, kinds = Text(), [False, True] if asked.crf is None else [asked.crf]
    figures = [training(text, hidden, crf, asked.rounds) for hidden in asked.hidden for crf in kinds]
    taken: dict[str, float] = {}
    for crf in kinds:
        figure, taken = prediction(text, crf, asked.rounds)
        figures.append(figure)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file has no edge at which to wrap
    show(figures, taken, console)
    if asked.json:
        found = {"machine": machine(), "figures": [asdict(f) for f in figures], "prediction": taken}
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
