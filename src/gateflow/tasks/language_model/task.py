"""The language model as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from gateflow.data.stream import TokenStream, token_file
from gateflow.layers import Recurrent
from gateflow.runs.weights import read_header
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.loading import build_model, load_tokenizer, refuse_other_model
from gateflow.tasks.language_model.model import (
    STRETCHES,
    LanguageModel,
    columns_for,
    detach,
    evaluate,
    perplexity,
)
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["LanguageModelTask"]


class LanguageModelTask:
    """The `Task` of predicting the next token; the hidden state, or a Transformer's cache, is carried on by windows."""

    # The loss, not the perplexity: checkpoints of older versions hold it as their best, and the two rise and fall
    # together.
    metric: Metric = ("loss", "min")
    unit = "tokens"

    def __init__(self, run: LanguageModelRun, config: LanguageModelConfig, rank: int = 0, world_size: int = 1) -> None:
        batch_size, window = config.training.batch_size, config.training.window
        size = load_tokenizer(run).get_vocab_size()
        # Before the model is built: a config.toml that asks for another one may ask for more memory than
        # there is.
        weights = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(weights, config.model, size, run.checkpoint_file)
        self.model: LanguageModel = build_model(config.model, size)
        remedy = "set the run up again with `gateflow train lm --force`"
        train, valid = (run.unharmed(run.tokens_file(part), remedy) for part in ("train", "valid"))
        self.train = TokenStream(train, batch_size, window, rank=rank, world_size=world_size)
        stretches = columns_for(len(token_file(valid)), STRETCHES)
        self.valid = TokenStream(valid, stretches, window, rank=rank, world_size=world_size, whole=True)
        for stream in (self.train, self.valid):
            # An index beyond the embedding is an error of the device on a GPU, which no message explains.
            stream.refuse_others_than(size)

    def start(self) -> Start:
        """Zeros, a row for each column of the text that this process reads; of a cache as many steps as it may hold."""
        layers, columns, number = self.model.layers, self.train.columns, self.model.bias.new_zeros(1)
        if isinstance(layers, Recurrent):
            return layers.initial_state(number.expand(1, columns, self.model.embedding.embedding_dim))
        full = number.expand(columns, layers.context or 0, layers.output_size)
        return [(full, full)] * len(layers.layers)

    def batches_per_epoch(self) -> int:
        """Windows in one pass over the training text."""
        return len(self.train)

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows of inputs and targets ``[T, B]``, in the order of the text in every epoch."""
        return self.train.windows(start)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], carried: State) -> tuple[Tensor, int, State]:
        """Mean cross-entropy per token, in nats."""
        device = self.model.bias.device
        # Without waiting: the copy runs while the last update is still being computed.
        inputs, targets = (part.to(device, non_blocking=True) for part in batch)
        loss, state = model(inputs, targets, carried)
        return loss, targets.numel(), detach(state)

    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Summed cross-entropy and tokens of the validation text."""
        loss, tokens = evaluate(self.model, self.valid)
        return {"loss": loss}, tokens

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": perplexity(means["loss"], 1)}
