"""How fast the inspector answers a keystroke: a language model of LSTM layers, on one core.

Run: `OMP_NUM_THREADS=1 python -m benchmarks.inspector`. Each figure is the median over texts that were never read
before, from the question to the JSON of the answer. "All" is what one keystroke asks. `processor` is the time that the
process had the core, which a machine that is busy with other work lengthens little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from gateflow.inspector.session import Session, Subject
from gateflow.tasks.inspection import Steps, Texts
from gateflow.tasks.language_model.model import LanguageModel

# What a page asks when a text has changed, in its order.
ASKED = ("read", "attribution", "memory", "gates")


class Drawn(Texts[LanguageModel]):
    """A model with its initial weights, which reads numbers: `text` is where they begin."""

    def __init__(self, vocabulary: int, hidden: int, layers: int, tokens: int):
        sizes = {"embedding_size": 256, "hidden_size": hidden, "num_layers": layers}
        self.model, self.tokens = LanguageModel(vocabulary, **sizes).eval(), tokens
        self.embedding = self.model.embedding
        self.outcomes = {"next": [str(i) for i in range(vocabulary)]}

    def examples(self):
        return ["0"]

    def read(self, text: str) -> Steps:
        count = len(self.outcomes["next"])
        ids = [(int(text) * 7919 + 31 * k) % count for k in range(self.tokens)]
        return Steps(tuple(map(str, ids)), torch.tensor(ids))

    def hidden(self, steps, vectors):
        return self.model.projection(self.model.recurrent(vectors)[0])[:, 0]

    def scores(self, hidden):
        return {"next": self.model.scores(hidden)}


def timed(session: Session, layer: str, tokens: int, texts: int, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of each view, and of all for one text, by a clock of seconds."""
    found: dict[str, list[float]] = {name: [] for name in (*ASKED, "all", "intervention")}
    more = {"attribution": {"place": tokens - 1}, "memory": {"layer": layer, "part": "c"}, "gates": {"layer": layer}}
    hold = {"layer": layer, "part": "c", "units": [3], "value": 0.0, "begin": 1, "end": tokens - 1}
    more["intervention"] = {"place": tokens - 1, "holds": [hold], "watched": [1, 2]}
    for text in range(1, texts + 1):
        begin = clock()
        for name in (*ASKED, "intervention"):
            start = clock()
            session.ask(name, {"text": str(text), **more.get(name, {})}).model_dump_json()
            found[name].append(1e3 * (clock() - start))
            if name == ASKED[-1]:
                found["all"].append(1e3 * (clock() - begin))
    # The first texts build kernels and fill caches.
    return {name: round(statistics.median(values[2:]), 1) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("vocabulary", 10_000), ("hidden", 512), ("layers", 1), ("tokens", 100), ("texts", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    drawn = Drawn(asked.vocabulary, asked.hidden, asked.layers, asked.tokens)
    found: dict[str, Any] = {"asked": vars(asked)}
    for name, clock in (("wall", time.perf_counter), ("processor", time.process_time)):
        session = Session([Subject("drawn", "lm", drawn)])
        layer = session.about().runs[0]["layers"][-1]["name"]
        found[name] = timed(session, layer, asked.tokens, asked.texts, clock)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
