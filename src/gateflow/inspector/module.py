"""Any torch model over numbers of tokens, as the inspector looks at it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError
from gateflow.flow.capture import probed
from gateflow.tasks.inspection import Inspected, Steps

__all__ = ["InspectedModule", "TokenizerLike"]


class TokenizerLike(Protocol):
    """What cuts texts: those of `tokenizers` and `transformers` do."""

    def encode(self, text: str, /) -> Any:
        """Numbers, or what has them as `ids`."""
        ...

    def decode(self, ids: Any, /) -> str:
        """The text of some numbers."""
        ...


class InspectedModule(Inspected[nn.Module]):
    """A copy of a model as it is now, in eval mode and on the CPU: what is looked at is in nobody's way.

    Args:
        model: called with numbers of tokens, ``[T, 1]`` or ``[1, T]``, it returns scores, ``[T, 1, K]``, ``[1, T, K]``
            or ``[1, K]``, alone or first in a tuple. It reads vectors of an `nn.Embedding`.
        tokenizer: cuts texts.
        labels: what the scores are of; without them, the next token.
        examples: texts to choose from.

    Raises:
        ConfigError: the model reads no embedding, or runs no recurrent layer over the tokens of a text.
    """

    step = "token"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: TokenizerLike,
        *,
        labels: Sequence[str] | None = None,
        examples: Sequence[str] = (),
    ):
        self.model, self.tokenizer = copy.deepcopy(model).cpu().eval(), tokenizer
        self._examples = list(examples)
        ids = torch.zeros(3, dtype=torch.int64)
        self.batch_first = self._is_batch_first(ids)
        self.embedding = self._embedding_of(ids)
        with torch.no_grad():
            scores = self._run(ids)
        rows, count = scores.shape
        self.about = "next" if labels is None else "step" if rows == len(ids) else "whole"
        names = [self._spelled(i) for i in range(count)] if labels is None else list(labels)
        if len(names) != count:
            raise ConfigError(f"{len(names)} labels are named, and the model has {count} scores; name each.")
        self.outcomes = {"next" if labels is None else "label": names}

    def examples(self) -> Sequence[str]:
        """Those that were given."""
        return self._examples

    def example(self, number: int) -> Steps:
        """One of them."""
        return self.read(self._examples[number])

    def read(self, text: str) -> Steps:
        """As the tokenizer cuts it."""
        found = self.tokenizer.encode(text)
        ids = list(getattr(found, "ids", found))
        if not ids:
            raise ConfigError("there is nothing to read; type some words.")
        return Steps(tuple(self._spelled(i) for i in ids), torch.tensor(ids, dtype=torch.int64))

    def vectors(self, steps: Steps) -> Tensor:
        """What the embedding gives."""
        caught: list[Tensor] = []
        with torch.no_grad(), self._embedding_gives(lambda vectors: caught.append(vectors) or vectors):
            self._run(steps.data)
        return caught[0].transpose(0, 1) if self.batch_first else caught[0]

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """The scores themselves, where the embedding gives these vectors."""
        given = vectors.transpose(0, 1) if self.batch_first else vectors
        with self._embedding_gives(lambda _: given):
            return self._run(steps.data)

    def scores(self, hidden: Tensor) -> dict[str, Tensor]:
        """They are there already."""
        return dict.fromkeys(self.outcomes, hidden)

    def _run(self, ids: Tensor) -> Tensor:
        """Scores ``[N, K]``."""
        found = self.model(self._laid_out(ids, self.batch_first))
        while isinstance(found, tuple | list):
            found = found[0]
        if not isinstance(found, Tensor) or found.dim() not in (2, 3):
            raise ConfigError(f"{type(self.model).__name__} returns no scores, [T, 1, K], [1, T, K] or [1, K].")
        return found if found.dim() == 2 else found[0] if self.batch_first else found[:, 0]

    @staticmethod
    def _laid_out(ids: Tensor, batch_first: bool) -> Tensor:
        return ids[None] if batch_first else ids[:, None]

    def _is_batch_first(self, ids: Tensor) -> bool:
        """By how many steps its layers take: a model that is given the wrong layout runs all the same, and is wrong."""
        for batch_first in (False, True):
            # Which of the two it refuses is not told: the other one is tried.
            with torch.no_grad(), probed(self.model) as replays, contextlib.suppress(RuntimeError, ValueError):
                self.model(self._laid_out(ids, batch_first))
            if any(replay.rows == 1 and replay.offset + replay.steps == len(ids) for replay in replays):
                return batch_first
        raise ConfigError(
            f"{type(self.model).__name__} runs no recurrent layer over the tokens of a text when it is called with "
            "their numbers, [T, 1] or [1, T]; wrap it in a module that does."
        )

    def _embedding_of(self, ids: Tensor) -> nn.Embedding:
        """The first that is given the tokens."""
        found: list[Any] = []
        with contextlib.ExitStack() as hooks, torch.no_grad():
            for module in self.model.modules():
                if isinstance(module, nn.Embedding):
                    hooks.callback(module.register_forward_hook(lambda m, args, _: found.append(m)).remove)
            self.model(self._laid_out(ids, self.batch_first))
        if not found:
            raise ConfigError(f"{type(self.model).__name__} reads its tokens by no nn.Embedding; use one.")
        return found[0]

    @contextlib.contextmanager
    def _embedding_gives(self, change: Any) -> Iterator[None]:
        handle = self.embedding.register_forward_hook(lambda _, __, vectors: change(vectors))
        try:
            yield
        finally:
            handle.remove()

    def _spelled(self, number: int) -> str:
        return self.tokenizer.decode([number])
