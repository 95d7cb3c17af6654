"""The model of a run leaves as one ONNX file, with a program beside it, once ONNX Runtime computes with it the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gateflow.data.stream import IGNORED, TokenStream
from gateflow.data.tokens import encode_file
from gateflow.errors import ConfigError, ExportError
from gateflow.export.onnx_file import onnx_bytes, quantized, session_of
from gateflow.files import write
from gateflow.tasks.description import Figures, Given
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel, columns_for, perplexity
from gateflow.tasks.language_model.run import LanguageModelRun

__all__ = ["Streaming", "export_run"]

MEASURED = 20_000
"""Tokens on which the loss of quality is measured, at most: a perplexity of 100 is then known to about 2 %."""
COLUMNS, WINDOW = 10, 35
# Scores of float32 that are sums of some hundred products, in another order; those of a wrong graph are off by units.
TOLERANCE = 1e-3


class Streaming(nn.Module):
    """What the file computes: `(tokens [T, B], parts of the state) → (scores [T, B, V], new parts of the state)`.

    Example:
        >>> model = LanguageModel(9, embedding_size=4, hidden_size=4, num_layers=1)
        >>> scores, h, c = Streaming(model)(torch.zeros(3, 2, dtype=torch.long), torch.zeros(2, 4), torch.zeros(2, 4))
        >>> scores.shape, Streaming(model).names()
        (torch.Size([3, 2, 9]), ['state_0_h', 'state_0_c'])
    """

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model
        self.sizes = [cell.state_sizes for cell in model.recurrent.cells]

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The parts of the state are those of all layers, one after the other."""
        parts = iter(state)
        hidden, last = self.model.hidden(tokens, [tuple(next(parts) for _ in sizes) for sizes in self.sizes])
        # As rows: ONNX Runtime's tool quantizes a product of two matrices, and the words are its second one.
        scores = self.model.scores(hidden.flatten(0, 1)).unflatten(0, tokens.shape)
        return scores, *itertools.chain.from_iterable(last)

    def names(self) -> list[str]:
        """Names of the parts of the state in the file."""
        return [f"state_{k}_{name}" for k, sizes in enumerate(self.sizes) for name in sizes]

    def zeros(self, rows: int) -> list[Tensor]:
        """The state to begin with."""
        return [torch.zeros(rows, size) for sizes in self.sizes for size in sizes.values()]


class _Quality(NamedTuple):
    perplexity: float
    tokens: int


def export_run(given: Given, onnx: Path, int8: bool, data: Path | None, force: bool) -> Figures:
    """The verb ``export``.

    Raises:
        ConfigError: the file has another ending, or is there already.
        ExportError: what is needed is not installed, or the file does not compute what the run does.
        RunError, NonFiniteError, DataError: the run's model, or the text, cannot be used.
        WriteError: a file could not be written.
    """
    program = onnx.with_suffix(".py")
    _refuse(onnx, program, force=force, data=data if not int8 else None)
    if given.run.config().model.is_transformer:
        raise ConfigError(f"{given.run.path} is a Transformer, and recurrent layers are what can be exported so far.")
    model, tokenizer = Streaming(load_model(given.run)), load_tokenizer(given.run)
    content = _content(model, tokenizer.to_str())
    with _tokens(given.run, data) as tokens:
        _refuse_another_model(content, model, tokens)
        lines, found = [], {"onnx": str(onnx), "program": str(program), "int8": int8}
        if int8:
            plain, content = content, quantized(content)
            lines, figures = _lost(given, plain, content, tokens)
            found |= figures
    write(program, files("gateflow.tasks.language_model").joinpath("standalone.py").read_bytes())
    write(onnx, content)
    found["bytes"] = len(content)
    ran = f"python {program} --prompt '...'"
    return Figures(found, (f"{onnx}  {len(content) / 1e6:,.1f} MB", *lines, f"Run it without gateflow: {ran}"))


def _refuse(onnx: Path, program: Path, *, force: bool, data: Path | None) -> None:
    if onnx.suffix != ".onnx":
        raise ConfigError(f"--onnx {onnx}: name a file that ends in .onnx; the program beside it ends in .py.")
    if data is not None:
        raise ConfigError(f"--data {data} is for what --int8 loses; add --int8, or leave --data out.")
    for file in (onnx, program):
        if file.exists() and not force:
            raise ConfigError(f"{file} is there already; choose another name, or add --force to replace it.")
    if not onnx.parent.is_dir():
        raise ConfigError(f"--onnx {onnx}: there is no folder {onnx.parent}; make it first.")


def _content(model: Streaming, tokenizer: str) -> bytes:
    """The ONNX file: any number of steps and rows, the state in and out, the tokenizer among its texts."""
    names, steps, rows = model.names(), torch.export.Dim("T", min=1), torch.export.Dim("B", min=1)
    # Two rows and three steps: torch takes a size of 1 for one that never changes.
    args = torch.zeros(3, 2, dtype=torch.int64), *model.zeros(2)
    return onnx_bytes(
        model,
        args,
        input_names=["tokens", *names],
        output_names=["scores", *(f"next_{name}" for name in names)],
        dynamic_shapes=({0: steps, 1: rows}, tuple({0: rows} for _ in names)),
        metadata={"tokenizer": tokenizer, "gateflow": version("gateflow")},
    )


@contextmanager
def _tokens(run: LanguageModelRun, data: Path | None) -> Iterator[Path]:
    """The text to try the file on, as token numbers."""
    if data is None:
        yield run.unharmed(run.tokens_file("valid"), "restore it from a copy, or name a text by --data")
        return
    with TemporaryDirectory() as folder:
        encode_file(load_tokenizer(run), data, Path(folder, "tokens.npy"))
        yield Path(folder, "tokens.npy")


def _stream(tokens: Path) -> TokenStream:
    # As `gateflow evaluate` reads it, so that the figures are the same.
    return TokenStream(tokens, columns_for(len(np.load(tokens, mmap_mode="r")), COLUMNS), WINDOW, whole=True)


def _refuse_another_model(content: bytes, model: Streaming, tokens: Path) -> None:
    """Compares the file with the model on the first window of the text, from a state that is not zero.

    Raises:
        ExportError: they differ.
    """
    inputs, _ = next(_stream(tokens).windows())
    with torch.inference_mode():
        _, *state = model(inputs, *model.zeros(inputs.shape[1]))
        wanted = model(inputs, *state)
    given = [part.numpy() for part in (inputs, *state)]
    found = _run(session_of(content), given)
    for a, b in zip(found, wanted, strict=True):
        if not np.allclose(a, b.numpy(), rtol=TOLERANCE, atol=TOLERANCE):
            worst = float(np.abs(a - b.numpy()).max())
            raise ExportError(
                f"ONNX Runtime computes something else than the run, by up to {worst:.2g}, so nothing was written; "
                "please report this, with the cell and the versions that `gateflow doctor` prints"
            )


def _run(session: Any, given: list[Any]) -> list[Any]:
    return session.run(None, dict(zip((each.name for each in session.get_inputs()), given, strict=True)))


def _lost(given: Given, plain: bytes, content: bytes, tokens: Path) -> tuple[list[str], dict[str, Any]]:
    """What integers of 8 bits cost: perplexities before and after."""
    before, after = (_quality(given, each, tokens) for each in (plain, content))
    change = after.perplexity / before.perplexity - 1
    line = (
        f"perplexity per token {before.perplexity:,.2f} → {after.perplexity:,.2f} ({change:+.1%}) on "
        f"{before.tokens:,} tokens; {len(plain) / 1e6:,.1f} MB without --int8"
    )
    figures = {"perplexity": before.perplexity, "perplexity_int8": after.perplexity, "tokens": before.tokens}
    return [line], figures | {"bytes_without_int8": len(plain)}


def _quality(given: Given, content: bytes, tokens: Path) -> _Quality:
    """Perplexity of a text by ONNX Runtime, its state carried on."""
    session, stream, total, count, state = session_of(content), _stream(tokens), 0.0, 0, None
    windows = min(len(stream), -(-MEASURED // (stream.columns * WINDOW)))
    for inputs, targets in given.track(itertools.islice(stream.windows(), windows), "reading", windows):
        state = state or [np.zeros((inputs.shape[1], s.shape[1]), np.float32) for s in session.get_inputs()[1:]]
        scores, *state = _run(session, [inputs.numpy(), *state])
        counted = targets != IGNORED
        logits = torch.from_numpy(scores)[counted].double()
        total += nn.functional.cross_entropy(logits, targets[counted], reduction="sum").item()
        count += int(counted.sum())
    return _Quality(perplexity(total, count), count)
