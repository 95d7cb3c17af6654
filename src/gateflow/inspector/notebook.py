"""The inspector in a notebook: the same page, with questions that go to the kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gateflow.errors import ConfigError, GateflowError
from gateflow.inspector.module import InspectedModule, TokenizerLike
from gateflow.inspector.page import resource
from gateflow.inspector.session import Session, Subject, subject_of

__all__ = ["inspect"]

# Seconds between two messages of how far work has come.
PULSE = 0.25


def inspect(
    model: nn.Module | str | Path,
    tokenizer: TokenizerLike | None = None,
    *,
    labels: Sequence[str] | None = None,
    examples: Sequence[str] = ("",),
    compare: str | Path | None = None,
) -> Any:
    """Look into a model while you type, in Jupyter, Colab or marimo: the page of `gateflow inspect` as a widget.

    Args:
        model: a module, of which a copy is looked at as it is now, or the folder of a run. A module is called with
            numbers of tokens, ``[T, 1]`` or ``[1, T]``, reads them by an `nn.Embedding`, and returns scores,
            ``[T, 1, K]``, ``[1, T, K]`` or ``[1, K]``.
        tokenizer: of a module: what has `encode` and `decode`.
        labels: names of a module's scores, if they are not of the next token.
        examples: texts to choose from, of a module.
        compare: the folder of another run, to be shown beside it.

    Returns:
        A widget. It needs `anywidget`: ``pip install 'gateflow[notebook]'``.

    Raises:
        ConfigError: the model cannot be shown, or anywidget is missing.

    Example:
        >>> import torch
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> words = Tokenizer(models.WordLevel({"the": 0, "cat": 1, "sat": 2}, unk_token="the"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> class Reader(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding, self.lstm = nn.Embedding(3, 4), nn.LSTM(4, 8, batch_first=True)
        ...         self.scores = nn.Linear(8, 3)
        ...
        ...     def forward(self, numbers):
        ...         return self.scores(self.lstm(self.embedding(numbers))[0])
        >>> widget = inspect(Reader(), words, examples=["the cat sat"])
        >>> type(widget).__name__
        'Inspector'
    """
    if isinstance(model, nn.Module):
        if tokenizer is None:
            raise ConfigError("a module needs a tokenizer: inspect(model, tokenizer).")
        inspected = InspectedModule(model, tokenizer, labels=labels, examples=examples)
        subjects = [Subject(type(model).__name__, "", inspected)]
    else:
        subjects = [subject_of(Path(path)) for path in (model, compare) if path is not None]
    return _widget(Session(subjects))


def _widget(session: Session) -> Any:
    try:
        from anywidget import AnyWidget
    except ModuleNotFoundError:
        raise ConfigError("a notebook needs anywidget: pip install 'gateflow[notebook]'.") from None

    class Inspector(AnyWidget):
        """The page, and its questions."""

        # The script of plots sets a global name, as it does on a page.
        _esm = resource("plotly.js") + "\n" + resource("inspector.js")
        _css = resource("inspector.css")

    widget = Inspector()
    widget.on_msg(lambda widget, message, _: answer(session, message, widget.send))
    return widget


def answer(session: Session, message: dict[str, Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """Answer one message of a page; what takes long tells how far it has come."""
    number, told = message.get("id"), time.monotonic()

    def tick(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() > told + PULSE:
            told = time.monotonic()
            send({"id": number, "progress": {"done": done, "total": total}})

    try:
        if message.get("kind") == "about":
            found = session.about()
        else:
            found = session.ask(str(message.get("view")), message.get("question") or {}, tick)
        send({"id": number, "answer": found.model_dump(mode="json")})
    except GateflowError as error:
        send({"id": number, "error": str(error)})
