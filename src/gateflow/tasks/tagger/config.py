"""The options of a tagger: where its tagged sentences lie, how their tags are read, and its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateflow.runs.config import ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.network import MOST_UNITS, LayersConfig


class SentencesConfig(ConfigSection):
    """Where the sentences lie, and what is read of them."""

    train: Path = Field(description="Tagged sentences to learn from, CoNLL columns or CoNLL-U, plain or gz.")
    valid: Path | None = Field(default=None, description="Sentences to validate on; else the last of --data.")
    held_out: Share = Field(default=0.1, gt=0, description="Share of sentences held out when there is no --valid.")
    group: str | None = Field(
        default=None,
        description="Hold out whole groups of sentences: document, as marks in the file say, or a column by number or "
        "name.",
    )
    words: str | None = Field(
        default=None, description="Column of the words, a number from 1 or a name; else the first."
    )
    columns: str = Field(default="", description="Columns of tags: upos,feats or 2,-1. If left out, the last.")
    names: str = Field(default="", description="Names of the columns of a plain file, such as word,pos,ner.")
    scheme: Literal["auto", "plain", "IOB1", "IOB2", "BIOES"] = Field(
        default="auto", description="How tags mark entities; auto looks at them, plain if they mark none."
    )
    min_count: Count = Field(default=1, description="Words seen less often in training are unknown.")
    embeddings: Path | None = Field(
        default=None, description="Word vectors as text (GloVe, fastText .vec), plain or gz, to begin from."
    )
    from_lm: Path | None = Field(
        default=None, description="Run of a language model of words, to begin from its word vectors and layers."
    )

    changeable: ClassVar = frozenset({"words", "names", "group"})

    @field_validator("words", "group", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # TOML has numbers

    @field_validator("from_lm")
    @classmethod
    def _comes_alone(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("embeddings") is not None:
            raise ValueError("--embeddings gives the words their vectors already; take one of the two")
        return value


class TaggerNetworkConfig(LayersConfig):
    """The network: words, their characters, recurrent layers, and what chooses the tags."""

    embedding_size: int = Field(default=100, ge=1, le=MOST_UNITS, description="Components of a word vector.")
    frozen: bool = Field(default=False, description="Leave the vectors of --embeddings or --from-lm as they are.")
    characters: Literal["lstm", "cnn", "none"] = Field(default="lstm", description="What reads a word's characters.")
    character_size: int = Field(
        default=100, ge=2, le=MOST_UNITS, multiple_of=2, description="Components that the characters give to a word."
    )
    bidirectional: bool = Field(default=True, description="Read from the end too: the future decides.")
    dropout: Share = Field(default=0.5, description="Share of a word's activations dropped, alike for a sentence.")
    word_dropout: Share = Field(default=0.1, description="Share of words read as unknown, so that these are learnt.")
    crf: bool | None = Field(
        default=None, description="A CRF chooses the tags of a sentence together. Default: where tags mark entities."
    )

    changeable: ClassVar = LayersConfig.changeable | {"frozen", "word_dropout"}


class TaggerTraining(TrainingConfig):
    """The optimisation, with the defaults of a tagger."""

    epochs: Count = Field(default=20, description="Passes over the sentences.")
    lr: float = Field(default=3e-3, gt=0, description="Peak learning rate.")
    clip: float | Literal["auto"] = Field(default=5.0, description="Largest gradient norm, or auto.")


class TaggerConfig(RunConfig):
    """The content of a tagger's config.toml.

    Example:
        >>> TaggerConfig.build({"data": {"train": "train.conll"}, "model": {"crf": True}}).model.hidden_size
        256
    """

    unused: ClassVar = frozenset({"window"})  # a sentence is read whole

    task: Literal["tagger"] = "tagger"
    data: SentencesConfig
    model: TaggerNetworkConfig = TaggerNetworkConfig()
    training: TaggerTraining = TaggerTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def idle(self) -> dict[str, str]:
        """Those of every training; and what belongs to files or networks that are not there."""
        idle = super().idle()
        if self.data.valid:
            idle |= dict.fromkeys(("held_out", "group"), "a training without --valid")
        if self.data.embeddings is None and self.data.from_lm is None:
            idle["frozen"] = "--embeddings or --from-lm"
        if self.model.characters == "none":
            idle["character_size"] = "--characters lstm or cnn"
        return idle

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
