"""The options of a translator: where its pairs lie, how they become tokens, and its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gateflow.data.parallel import two_files
from gateflow.runs.config import ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.network import MOST_UNITS, EitherLayersConfig

__all__ = ["PairsConfig", "TokensConfig", "TranslatorConfig", "TranslatorNetworkConfig", "TranslatorTraining"]

Kind = Literal["word", "char", "jamo", "bpe"]
# A vocabulary that is asked for; tokenizers refuse what is larger than they read again.
MOST_TOKENS = 1 << 21


class PairsConfig(ConfigSection):
    """Where the pairs lie, and what is read of them."""

    train: Path = Field(
        description="Pairs to learn from: TSV (source, tab, target), CSV with a header, JSON lines; or two files, as "
        "train.ja,train.en. Plain or gz."
    )
    target_data: Path | None = Field(default=None, description="File of the targets, where --data has sources alone.")
    valid: Path | None = Field(default=None, description="Pairs to validate on; else some drawn from --data.")
    target_valid: Path | None = Field(default=None, description="File of the targets to validate on.")
    held_out: Share = Field(default=0.1, gt=0, description="Share of pairs held out when there is no --valid.")
    source: str | None = Field(
        default=None, description="Column of the sources, a number from 1 or a name; else the first."
    )
    target: str | None = Field(
        default=None, description="Column of the targets, else the second; 2,3 if there are several right ones."
    )
    features: str | None = Field(
        default=None, description="Column with more about a source, such as V;PST of its inflection."
    )

    @model_validator(mode="before")
    @classmethod
    def _names_two_files(cls, found: Any) -> Any:
        """``--data train.ja,train.en`` is ``--data train.ja --target-data train.en``."""
        if not isinstance(found, dict):
            return found
        found = dict(found)
        for name, other in (("train", "target_data"), ("valid", "target_valid")):
            if isinstance(found.get(name), str | Path):
                first, second = two_files(Path(found[name]), found.get(other))
                found |= {name: first} | ({other: second} if second is not None else {})
        return found

    # Columns; that there are features at all is seen by their file.
    changeable: ClassVar = frozenset({"source", "target", "features"})

    @field_validator("source", "target", "features", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # TOML has numbers


class TokensConfig(ConfigSection):
    """How sources and targets become tokens."""

    tokenizer: Kind = Field(
        default="word", description="Tokens of a source: what spaces separate, characters, letters of Hangul, or BPE."
    )
    target_tokenizer: Kind | None = Field(default=None, description="Tokens of a target; those of sources if left out.")
    vocab_size: int | None = Field(
        default=None, ge=3, le=MOST_TOKENS, description="Most tokens of sources; all if left out, 8192 of BPE."
    )
    target_vocab_size: int | None = Field(
        default=None, ge=3, le=MOST_TOKENS, description="Most tokens of targets; as of sources if left out."
    )
    min_count: Count = Field(default=1, description="Tokens seen less often in training are unknown.")
    joint: bool = Field(default=False, description="One vocabulary and one set of vectors for both sides.")
    longest: int = Field(
        default=200, ge=1, le=1 << 16, description="Pairs with more tokens on a side are not learnt from."
    )

    @field_validator("joint")
    @classmethod
    def _is_of_one_kind(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("target_tokenizer") not in (None, info.data.get("tokenizer")):
            raise ValueError("both sides are to have one kind of tokens; leave --target-tokenizer out")
        return value

    @property
    def of_targets(self) -> Kind:
        """The kind of the targets' tokens."""
        return self.target_tokenizer or self.tokenizer


class TranslatorNetworkConfig(EitherLayersConfig):
    """The network: an encoder of the source, a decoder of the target, and the attention between them."""

    decoder_cell: str | None = Field(default=None, description="Cell of the decoder; that of the encoder if left out.")
    embedding_size: int = Field(default=128, ge=1, le=MOST_UNITS, description="Components of a token's vector.")
    bidirectional: bool = Field(default=True, description="Read the source from its end too.")
    attention: Literal["general", "dot", "additive", "none"] = Field(
        default="general", description="How the decoder looks back at the source: Luong's general or dot, Bahdanau's."
    )
    input_feeding: bool = Field(
        default=False, description="Each step reads what the last one found; training goes step by step, and is slower."
    )
    pointer: bool = Field(
        default=False, description="Tokens may be copied from the source, unknown ones too (pointer-generator)."
    )
    tied: bool = Field(default=True, description="One set of vectors for the decoder's input and its output.")
    dropout: Share = Field(default=0.3, description="Share of activations dropped, alike for a sequence.")
    word_dropout: Share = Field(default=0.0, description="Share of source tokens read as unknown in training.")

    changeable: ClassVar = EitherLayersConfig.changeable | {"word_dropout"}

    @field_validator("pointer")
    @classmethod
    def _has_attention(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("attention") == "none" and info.data.get("model") == "recurrent":
            raise ValueError("it copies what attention looks at, and there is --attention none; choose one")
        return value

    @classmethod
    def of_recurrent(cls) -> tuple[str, ...]:
        """Those of any task; and what only recurrent layers leave open."""
        return (*super().of_recurrent(), "decoder_cell", "bidirectional", "attention", "input_feeding")

    def of_layers(self) -> dict[str, Any]:
        """The options of encoder and decoder."""
        found = super().of_layers()
        own = ("decoder_cell", "bidirectional", "attention", "input_feeding")
        return found if self.is_transformer else found | {name: getattr(self, name) for name in own}


class TranslatorTraining(TrainingConfig):
    """The optimisation, with the defaults of a translator."""

    batch_size: int = Field(default=64, ge=1, le=1 << 20, description="Pairs side by side.")
    epochs: Count = Field(default=30, description="Passes over the pairs.")
    lr: float = Field(default=3e-3, gt=0, description="Peak learning rate.")
    clip: float | Literal["auto"] = Field(default=1.0, description="Largest gradient norm, or auto.")
    label_smoothing: Share = Field(default=0.1, description="Share of each target that is spread over all tokens.")
    metric: Literal["error_rate", "exact_match", "accuracy", "loss"] = Field(
        default="error_rate",
        description="What decides which weights are best: edits per token of greedy translations, the share of exact "
        "ones, right tokens after right ones, or the loss.",
    )


class TranslatorConfig(RunConfig):
    """The content of a translator's config.toml.

    Example:
        >>> found = TranslatorConfig.build({"data": {"train": "train.ja,train.en"}, "model": {"cell": "gru"}})
        >>> found.data.train.name, found.data.target_data.name, found.model.attention
        ('train.ja', 'train.en', 'general')
    """

    unused: ClassVar = frozenset({"window"})  # a pair is read whole

    task: Literal["translator"] = "translator"
    data: PairsConfig
    tokens: TokensConfig = TokensConfig()
    model: TranslatorNetworkConfig = TranslatorNetworkConfig()
    training: TranslatorTraining = TranslatorTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def idle(self) -> dict[str, str]:
        """Those of every training; and what belongs to files or networks that are not there."""
        idle = super().idle()
        if self.data.valid:
            idle["held_out"] = "a training without --valid"
        else:
            idle["target_valid"] = "--valid"
        if self.data.target_data is not None:
            idle |= dict.fromkeys(("source", "target", "features"), "a table, and --data names two files")
        if self.tokens.joint:
            idle |= dict.fromkeys(("target_vocab_size", "target_tokenizer"), "a training without --joint")
        if "bpe" == self.tokens.tokenizer == self.tokens.of_targets:
            idle["min_count"] = "--tokenizer word, char or jamo"
        if self.tokens.tokenizer == "bpe":
            idle["word_dropout"] = "--tokenizer word, char or jamo, which have unknown tokens"
        if self.model.attention == "none":
            idle["input_feeding"] = "--attention general, dot or additive"
        return idle | self.model.idle()

    def named_code(self) -> tuple[str, ...]:
        """The cells."""
        return tuple(filter(None, (self.model.cell, self.model.decoder_cell)))
