"""The language model as a run: text → tokens → model → `Task` of the training loop, and back from the folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from gateflow.data.stream import TokenStream
from gateflow.data.tokenizer import build_tokenizer
from gateflow.data.tokens import encode_file
from gateflow.errors import DataError, RunError
from gateflow.tasks.language_model import LanguageModel, detach, evaluate, perplexity
from gateflow.training.checkpoint import Checkpoint, Progress, State
from gateflow.training.config import DataConfig, ModelConfig, RunConfig
from gateflow.training.files import appearing_whole
from gateflow.training.held_out import held_out
from gateflow.training.initial import Initialiser
from gateflow.training.optimizers import build_optimizer
from gateflow.training.runs import Run, new_run
from gateflow.training.weights import load_weights, read_tensors


def set_up(path: Path, config: RunConfig, *, force: bool = False, tokens_of: Run | None = None) -> Run:
    """A new run: its tokenizer, its tokens, and a checkpoint of step 0.

    Tokenizer and tokens are those of the run `tokens_of`, if there is one.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: a text is missing, is none, or is too small.
    """
    build_model(config.model, vocab_size=2)  # what the model refuses is refused before the text is read
    with new_run(path, config, force=force) as run:
        if tokens_of is None:
            write_tokens(run, config.data, config.training.batch_size)
        else:
            _copy_tokens(tokens_of, run)
        size = load_tokenizer(run).get_vocab_size()
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, size)
        model.fit_frequencies(TokenStream(run.tokens_file("train"), 1, 1).frequencies(size))
        Checkpoint.of(model, build_optimizer(model, config.training), Progress()).write(run.checkpoint_file)
    return Run.open(path)


def write_tokens(run: Run, data: DataConfig, columns: int) -> None:
    """Build the tokenizer from the training text, and encode both texts into the run."""
    tokens = run.tokens_file("train").parent
    tokens.mkdir()
    with nullcontext((data.train, data.valid)) if data.valid else held_out(data.train, data.held_out, tokens) as texts:
        tokenizer = build_tokenizer(data.tokenizer, texts[0], data.vocab_size)
        with appearing_whole(run.tokenizer_file) as draft:
            tokenizer.save(str(draft))
        for part, text in zip(("train", "valid"), texts, strict=True):
            count = encode_file(tokenizer, text, run.tokens_file(part)).tokens
            if count <= columns:
                source = (data.valid if part == "valid" else None) or data.train
                raise DataError(_too_few(part, source, count, columns))


def _copy_tokens(source: Run, run: Run) -> None:
    shutil.copytree(source.tokens_file("train").parent, run.tokens_file("train").parent)
    shutil.copy(source.tokenizer_file, run.tokenizer_file)


def _too_few(part: str, source: Path, count: int, columns: int) -> str:
    what = f"the {part} part of {source} has {count} tokens, too few for --batch-size {columns}"
    return what + (
        f"; use --batch-size {count - 1} or less, or more text." if count > 1 else "; nothing is left to predict in it."
    )


def build_model(config: ModelConfig, vocab_size: int) -> LanguageModel:
    """The network that `config` describes, with its initial weights."""
    model = LanguageModel(
        vocab_size,
        cell=config.cell,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        num_layers=config.layers,
        dropout=config.dropout,
        tied=config.tied,
        candidates=config.candidates or None,
        skip=config.skip,
        weight_dropout=config.weight_dropout,
    )
    if config.init:
        Initialiser.parse(config.init).apply(model)
    return model


def load_tokenizer(run: Run) -> Tokenizer:
    """The tokenizer of a run.

    Raises:
        RunError: it is missing or damaged.
    """
    file = run.require(run.tokenizer_file, "without it the weights mean nothing; restore it from a copy")
    with _Reading(file):
        return Tokenizer.from_file(str(file))


def load_model(run: Run) -> LanguageModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    file = run.require(run.model_file, f"it appears with the first validation: gateflow resume {run.path}")
    model = build_model(run.config().model, load_tokenizer(run).get_vocab_size())
    load_weights(model, read_tensors(file)[0], file)
    return model.eval()


class LanguageModelTask:
    """The `Task` of predicting the next token; the hidden state is carried from window to window."""

    def __init__(self, run: Run, config: RunConfig, rank: int = 0, world_size: int = 1) -> None:
        batch_size, window = config.training.batch_size, config.training.window
        self.model: LanguageModel = build_model(config.model, load_tokenizer(run).get_vocab_size())
        remedy = "set the run up again with `gateflow train lm --force`"
        train, valid = (run.require(run.tokens_file(part), remedy) for part in ("train", "valid"))
        self.train = TokenStream(train, batch_size, window, rank=rank, world_size=world_size)
        self.valid = TokenStream(valid, batch_size, window, rank=rank, world_size=world_size, whole=True)

    def windows_per_epoch(self) -> int:
        """Windows in one pass over the training text."""
        return len(self.train)

    def windows(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets ``[T, B]``, in the order of the text in every epoch."""
        return self.train.windows(start)

    def loss(self, model: nn.Module, window: tuple[Tensor, Tensor], carried: State) -> tuple[Tensor, int, State]:
        """Mean cross-entropy per token, in nats."""
        device = self.model.bias.device
        inputs, targets = (part.to(device, non_blocking=True) for part in window)
        loss, state = model(inputs, targets, carried)
        return loss, targets.numel(), detach(state)

    def validate(self, model: nn.Module) -> tuple[float, int]:
        """Summed cross-entropy and tokens of the validation text."""
        return evaluate(self.model, self.valid)

    def figures(self, loss: float) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": perplexity(loss, 1)}


class _Reading:
    """tokenizers raises bare `Exception`, which a clause of ours must not catch: it would catch all else too."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is Exception:
            raise RunError(f"{self.file} is damaged ({error}); restore it from a copy.") from None
