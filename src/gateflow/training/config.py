"""What a run is made of: three sections of options, read from TOML and from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateflow.errors import ConfigError, RunError
from gateflow.files import read_bounded
from gateflow.training.complaints import first_complaint
from gateflow.training.initial import Initialiser

FORMAT = 1
"""Version of the run folder that this gateflow writes; it reads this one and the older ones."""

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**63)]

MOST_BYTES, MOST_DOTS = 64 << 10, 500
"""Of a configuration, and of a line of it: for each dot TOML keeps a table and a path to it, dots² in memory."""
MOST_UNITS, MOST_LAYERS, MOST_STEPS, MOST_WORDS = 1 << 20, 1000, 1 << 20, 10**7
"""Larger than any network of this kind, and small enough for their products to be counted."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False, frozen=True)


class DataConfig(_Section):
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


class ModelConfig(_Section):
    """The network: embedding, recurrent layers, output."""

    cell: str = Field(default="lstm", description="Recurrent cell; `gateflow cells` lists them.")
    embedding_size: int = Field(default=256, ge=1, le=MOST_UNITS, description="Components of a word vector.")
    hidden_size: int = Field(default=512, ge=1, le=MOST_UNITS, description="Units per layer.")
    layers: int = Field(default=1, ge=1, le=MOST_LAYERS, description="Recurrent layers on top of each other.")
    dropout: Share = Field(default=0.3, description="Share of activations dropped.")
    weight_dropout: Share = Field(default=0.0, description="Share of recurrent weights dropped.")
    tied: bool = Field(default=True, description="One matrix for embedding and output.")
    candidates: int = Field(
        default=1024, ge=0, lt=2**63, description="Words drawn to normalise over in training; 0: all."
    )
    skip: Literal["residual", "highway"] | None = Field(default=None, description="Connection around each layer.")
    init: str | None = Field(default=None, description="Initial weights: orthogonal, identity, forget:1 or chrono:60.")
    bidirectional: bool = Field(default=False, description="Refused: a language model must not read the future.")

    @field_validator("bidirectional")
    @classmethod
    def _reads_forward_only(cls, value: bool) -> bool:
        if value:
            raise ValueError("a language model predicts the next token, which a backward layer has already read")
        return value

    @field_validator("init")
    @classmethod
    def _names_an_initialiser(cls, value: str | None) -> str | None:
        if value is not None:
            Initialiser.parse(value)
        return value


class TrainingConfig(_Section):
    """The optimisation: batches, steps, rates, and when to look."""

    batch_size: int = Field(default=32, ge=1, le=MOST_STEPS, description="Sequences side by side.")
    window: int = Field(default=35, ge=1, le=MOST_STEPS, description="Time steps per truncated back-propagation.")
    epochs: Count = Field(default=8, description="Passes over the training text.")
    accumulate: Count = Field(default=1, description="Windows per update.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="Rule of the update.")
    lr: float = Field(default=6e-3, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="linear", description="Learning rate after warm-up."
    )
    warmup: int = Field(
        default=200, ge=0, lt=2**63, description="Updates over which the learning rate rises; at most a tenth of all."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled for AdamW, L2 for SGD.")
    momentum: Share = Field(default=0.0, description="Momentum of SGD.")
    clip: float | Literal["auto"] = Field(default=1.0, description="Largest gradient norm, or auto.")
    non_finite_limit: Count = Field(default=10, description="Stop after so many non-finite gradients in a row.")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="Arithmetic of the products.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of initial weights and dropout.")
    max_updates: Count | None = Field(default=None, description="Stop after so many updates.")
    log_every: Count = Field(default=50, description="Updates per line of metrics.jsonl.")
    validate_every: Count | None = Field(
        default=None, description="Updates between validations; each epoch if left out."
    )
    checkpoint_every: Count = Field(default=500, description="Updates between checkpoints.")
    monitor: bool = Field(default=True, description="Show how far the gradient reaches, beside the loss.")
    tensorboard: bool = Field(default=False, description="Write TensorBoard events into the run as well.")

    @field_validator("clip", mode="before")
    @classmethod
    def _clips_at_a_positive_norm(cls, value: Any) -> Any:
        if value == "auto":
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < float("inf"):
            raise ValueError("neither a number above 0 nor auto")
        return number


class RunConfig(_Section):
    """Everything needed to train again: the content of a run's config.toml.

    Example:
        >>> config = RunConfig.build({"data": {"train": "corpus.txt"}, "model": {"hidden_size": 64}})
        >>> config.model.hidden_size, config.training.optimizer
        (64, 'adamw')
        >>> RunConfig.build({"data": {"train": "corpus.txt"}, "model": {"hidden_size": 0}})
        Traceback (most recent call last):
            ...
        gateflow.errors.ConfigError: --hidden-size 0: input should be greater than or equal to 1.
    """

    format: int = FORMAT
    task: Literal["lm"] = "lm"
    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @classmethod
    def build(cls, options: Mapping[str, Mapping[str, Any]], file: Path | None = None) -> RunConfig:
        """Options of a config file, if any, overridden by `options` (section → name → value).

        Raises:
            ConfigError: a value that cannot work, named as the user wrote it.
        """
        merged = read_toml(file) if file else {}
        for section, values in options.items():
            merged[section] = {**merged.get(section, {}), **values}
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(first_complaint(error, cls, options, file)) from None

    @classmethod
    def read(cls, file: Path) -> RunConfig:
        """The configuration of an existing run; refuses one that a newer gateflow wrote."""
        version = read_toml(file).get("format")
        if type(version) is not int or not 0 < version < 2**31:
            raise RunError(f"{file} has no `format`, so it is not the configuration of a run.")
        if version > FORMAT:
            raise RunError(
                f"{file.parent} was written in run format {version}, and this gateflow reads up to {FORMAT}. "
                "Upgrade it: pip install --upgrade gateflow."
            )
        return cls.build({}, file)

    def to_toml(self) -> str:
        """The text of config.toml; options that were left out stay out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file as a dictionary, or a ConfigError that says what is wrong with it and where."""
    try:
        text = read_bounded(file, MOST_BYTES).decode("utf-8")
        _refuse_many_dots(text)
        return tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {file}.") from None
    except OSError as error:
        raise ConfigError(f"the configuration file {file} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise ConfigError(f"{file} is no configuration: its tables are nested too deep.") from None
    except ValueError as error:  # of UTF-8, of TOML, of numbers with too many digits, of the size
        raise ConfigError(f"{file} is not TOML: {error!s:.200}.") from None


def _refuse_many_dots(text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
