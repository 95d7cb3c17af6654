"""The options of a classifier: where its texts lie, how they are cut into tokens, its network and its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateflow.runs.config import ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.classifier.class_weights import parse_class_weights
from gateflow.tasks.network import MOST_UNITS, LayersConfig


class TextsConfig(ConfigSection):
    """Where the texts lie, and what is read of them."""

    train: Path = Field(description="Texts with labels to learn from.")
    valid: Path | None = Field(default=None, description="Texts to validate on; else some of --data, drawn once.")
    held_out: Share = Field(default=0.1, gt=0, description="Share of texts held out when there is no --valid.")
    text: str | None = Field(default=None, description="Column of the texts, a number from 1 or a name.")
    label: str | None = Field(default=None, description="Column of the labels, a number from 1 or a name.")
    multi_label: bool = Field(default=False, description="A text may have several labels, or none.")
    separator: str = Field(default=",", min_length=1, description="What stands between the labels of a text.")
    folds: int | None = Field(default=None, ge=2, le=1000, description="Cut the texts into so many test parts.")
    fold: int | None = Field(default=None, ge=1, description="Train the run of this fold alone, numbered from 1.")
    stratified: bool = Field(default=True, description="Each part has its share of every label.")
    tokenizer: Literal["word", "char", "jamo", "bpe"] = Field(
        default="word", description="What is read step by step; char are syllables in Korean, jamo their letters."
    )
    vocab_size: int | None = Field(default=None, ge=1, lt=2**31, description="Most tokens; 8192 for BPE.")
    min_count: Count = Field(default=1, description="Tokens seen less often in training are unknown.")
    longest: int = Field(default=1000, ge=1, le=1 << 20, description="Tokens read of a text, from its beginning.")
    embeddings: Path | None = Field(
        default=None, description="Word vectors as text (GloVe, fastText .vec), plain or gz, to begin from."
    )
    from_lm: Path | None = Field(
        default=None, description="Run of a language model with the same kind of tokens, to begin from."
    )

    @field_validator("text", "label", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # TOML has numbers

    @field_validator("fold")
    @classmethod
    def _is_one_of_the_folds(cls, value: int | None, info: ValidationInfo) -> int | None:
        folds = info.data.get("folds")
        if value is not None and (folds is None or value > folds):
            raise ValueError(f"there are {folds or 'no'} folds; give --folds, and one of them")
        return value

    @field_validator("embeddings")
    @classmethod
    def _is_of_words(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tokenizer") != "word":
            raise ValueError("these are vectors of words, and --tokenizer has other tokens; take --tokenizer word")
        return value

    @field_validator("from_lm")
    @classmethod
    def _comes_alone(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("embeddings") is not None:
            raise ValueError("--embeddings gives the words their vectors already; take one of the two")
        return value


class ClassifierNetworkConfig(LayersConfig):
    """The network: tokens, recurrent layers, and how one answer is read out of them."""

    embedding_size: int = Field(default=100, ge=1, le=MOST_UNITS, description="Components of a token's vector.")
    frozen: bool = Field(default=False, description="Leave the vectors of --embeddings or --from-lm as they are.")
    hidden_size: int = Field(default=128, ge=1, le=MOST_UNITS, description="Units per layer and direction.")
    bidirectional: bool = Field(default=True, description="Read from the end too.")
    read_out: Literal["last", "mean", "max", "attention"] = Field(
        default="max", description="How the steps of a text become one vector."
    )
    dropout: Share = Field(default=0.5, description="Share of activations dropped, alike for all steps of a text.")
    word_dropout: Share = Field(default=0.1, description="Share of tokens read as unknown, so that these are learnt.")


class ClassifierTraining(TrainingConfig):
    """The optimisation, with the defaults of a classifier."""

    epochs: Count = Field(default=5, description="Passes over the texts.")
    lr: float = Field(default=3e-3, gt=0, description="Peak learning rate.")
    clip: float | Literal["auto"] = Field(default=5.0, description="Largest gradient norm, or auto.")
    class_weights: str = Field(
        default="", description="What a mistake costs by label: balanced, or pos=2,neg=1. Default: the same."
    )
    label_smoothing: Share = Field(default=0.0, description="Share of a label's probability given to all labels.")
    threshold: float | Literal["fit"] = Field(
        default="fit", description="Probability from which a label is given (multi-label); fit chooses one per label."
    )
    metric: Literal["auto", "macro_f1", "loss"] = Field(
        default="auto", description="Which figure decides what is kept; auto is accuracy, or micro F1 of multi-label."
    )

    @field_validator("class_weights")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        parse_class_weights(value)
        return value

    @field_validator("threshold", mode="before")
    @classmethod
    def _is_a_probability(cls, value: Any) -> Any:
        # The command line gives text for an option that may be a number or a word, a TOML file gives the number.
        if value == "fit":
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < 1:
            raise ValueError("neither a number between 0 and 1 nor fit")
        return number


class ClassifierConfig(RunConfig):
    """The content of a classifier's config.toml.

    Example:
        >>> ClassifierConfig.build({"data": {"train": "films.tsv"}, "model": {"read_out": "max"}}).data.tokenizer
        'word'
    """

    unused: ClassVar = frozenset({"window"})  # a text is read whole

    task: Literal["classifier"] = "classifier"
    data: TextsConfig
    model: ClassifierNetworkConfig = ClassifierNetworkConfig()
    training: ClassifierTraining = ClassifierTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def idle(self) -> dict[str, str]:
        """Those of every training; and what belongs to files, labels or networks that are not there."""
        idle = super().idle()
        if self.data.valid:
            idle["held_out"] = "a training without --valid"
        if self.data.embeddings is None and self.data.from_lm is None:
            idle["frozen"] = "--embeddings or --from-lm"
        if self.data.tokenizer == "bpe":
            idle["min_count"] = "--tokenizer word, char or jamo"
        if not self.data.multi_label:
            idle |= dict.fromkeys(("separator", "threshold"), "--multi-label")
        return idle

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
