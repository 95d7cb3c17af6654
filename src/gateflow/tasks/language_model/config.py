"""The options of a language model: where its text lies, and its network."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from gateflow.runs.config import MOST_STEPS, ConfigSection, RunConfig, Share
from gateflow.tasks.network import MOST_UNITS, EitherLayersConfig

# Larger than any network of this kind, and small enough for their products to be counted.
MOST_WORDS = 10**7


class DataConfig(ConfigSection):
    """Where the text lies and how it becomes tokens."""

    train: Path = Field(description="Text to learn from, plain or gz, UTF-8.")
    valid: Path | None = Field(
        default=None, description="Text to validate on; without it the last lines of the training text."
    )
    held_out: Share = Field(default=0.05, gt=0, description="Share of lines held out when there is no validation text.")
    tokenizer: Literal["word", "char", "bpe"] = Field(default="word", description="What a token is.")
    vocab_size: int | None = Field(
        default=None, ge=2, le=MOST_WORDS, description="Most tokens in the vocabulary; all of them if left out."
    )


class ModelConfig(EitherLayersConfig):
    """The network: embedding, recurrent layers or a Transformer's, output."""

    embedding_size: int = Field(default=256, ge=1, le=MOST_UNITS, description="Components of a word vector.")
    hidden_size: int = Field(default=512, ge=1, le=MOST_UNITS, description="Units per layer.")
    dropout: Share = Field(default=0.3, description="Share of activations dropped.")
    tied: bool = Field(default=True, description="One matrix for embedding and output.")
    # On WikiText-2 the softmax over all words took four times as long per token and, at equal updates, was no better.
    softmax_samples: int = Field(
        default=1024, ge=0, lt=2**63, description="Words drawn to normalise over in training; 0: all."
    )
    context: int = Field(
        default=128,
        ge=1,
        le=MOST_STEPS,
        description="Steps that each layer of a Transformer looks back, those of earlier windows included.",
    )
    bidirectional: bool = Field(default=False, description="Refused: a language model must not read the future.")

    @field_validator("bidirectional")
    @classmethod
    def _reads_forward_only(cls, value: bool) -> bool:
        if value:
            raise ValueError("a language model predicts the next token, which a backward layer has already read")
        return value

    @classmethod
    def of_transformer(cls) -> tuple[str, ...]:
        """Those of any task; and how far it looks back."""
        return (*super().of_transformer(), "context")


class LanguageModelConfig(RunConfig):
    """The content of a language model's config.toml.

    Example:
        >>> config = LanguageModelConfig.build({"data": {"train": "corpus.txt"}, "model": {"hidden_size": 64}})
        >>> config.model.hidden_size, config.training.optimizer
        (64, 'adamw')
        >>> LanguageModelConfig.build({"data": {"train": "corpus.txt"}, "model": {"hidden_size": 0}})
        Traceback (most recent call last):
            ...
        gateflow.errors.ConfigError: --hidden-size 0: input should be greater than or equal to 1.
    """

    renamed: ClassVar = {("model", "candidates"): "softmax_samples"}

    task: Literal["lm"] = "lm"
    data: DataConfig
    model: ModelConfig = ModelConfig()

    def idle(self) -> dict[str, str]:
        """Those of every training and network; and no lines are held out where there is a text to validate on."""
        idle = super().idle() | self.model.idle()
        return idle | ({"held_out": "a training without --valid"} if self.data.valid else {})

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
