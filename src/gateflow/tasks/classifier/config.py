"""The options of a classifier: where its examples lie, how each kind of them is read, its network, its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateflow.runs.config import ConfigSection, Count, RunConfig, Share, TrainingConfig
from gateflow.tasks.classifier.class_weights import parse_class_weights
from gateflow.tasks.network import MOST_UNITS, EitherLayersConfig
from gateflow.tasks.spectrograms import SpectrogramConfig

# Passes over series and sounds: most sets of them are small.
EPOCHS = 30


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # TOML has numbers


class ExamplesConfig(ConfigSection):
    """Where the examples lie, and what is asked of them."""

    train: Path = Field(description="What to learn from, with its labels: texts, series of numbers, images, sounds.")
    valid: Path | None = Field(default=None, description="Examples to validate on; else some of --data, drawn once.")
    held_out: Share = Field(default=0.1, gt=0, description="Share of examples held out when there is no --valid.")
    input: Literal["auto", "text", "series", "sound"] = Field(
        default="auto", description="What the examples are; auto looks at the file. Images are series of rows."
    )
    label: str | None = Field(
        default=None, description="Column of the labels: a name, or a number from 1 where texts have no names."
    )
    multi_label: bool = Field(default=False, description="An example may have several labels, or none.")
    separator: str = Field(default=",", min_length=1, description="What stands between the labels of an example.")
    regression: bool = Field(default=False, description="The labels are numbers to be predicted.")
    per_step: bool = Field(default=False, description="Each step of a series has a label of its own.")
    folds: int | None = Field(default=None, ge=2, le=1000, description="Cut the examples into so many test parts.")
    fold: int | None = Field(default=None, ge=1, description="Train the run of this fold alone, numbered from 1.")
    stratified: bool = Field(default=True, description="Each part has its share of every label.")
    group: str | None = Field(
        default=None, description="Column of authors, speakers or the like, none of whom is in two parts."
    )
    longest: int = Field(
        default=1000, ge=1, le=1 << 20, description="Tokens or steps read of an example, from its beginning."
    )

    # Where in a file things stand; what they are read as must stay.
    changeable: ClassVar = frozenset({"label", "separator", "group"})

    @field_validator("label", "group", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        return _as_text(value)

    @field_validator("regression")
    @classmethod
    def _is_of_one_number(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("multi_label"):
            raise ValueError("--multi-label is for names of classes, and this for numbers; take one of the two")
        return value

    @field_validator("per_step")
    @classmethod
    def _has_one_label_a_step(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("multi_label"):
            raise ValueError("each step has one label, and with --multi-label several; take one of the two")
        return value

    @field_validator("fold")
    @classmethod
    def _is_one_of_the_folds(cls, value: int | None, info: ValidationInfo) -> int | None:
        folds = info.data.get("folds")
        if value is not None and (folds is None or value > folds):
            raise ValueError(f"there are {folds or 'no'} folds; give --folds, and one of them")
        return value


class TextsConfig(ConfigSection):
    """How a text is read: its column, its tokens, and what their vectors begin from."""

    text: str | None = Field(default=None, description="Column of the texts, a number from 1 or a name.")
    tokenizer: Literal["word", "char", "jamo", "bpe"] = Field(
        default="word", description="What is read step by step; char are syllables in Korean, jamo their letters."
    )
    vocab_size: int | None = Field(default=None, ge=1, lt=2**31, description="Most tokens; 8192 for BPE.")
    min_count: Count = Field(default=1, description="Tokens seen less often in training are unknown.")
    embeddings: Path | None = Field(
        default=None, description="Word vectors as text (GloVe, fastText .vec), plain or gz, to begin from."
    )
    from_lm: Path | None = Field(
        default=None, description="Run of a language model with the same kind of tokens, to begin from."
    )

    changeable: ClassVar = frozenset({"text"})

    @field_validator("text", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        return _as_text(value)

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


class SeriesConfig(ConfigSection):
    """How a series of numbers is read: the columns of a table, the steps of an image, and values that are missing."""

    series: str | None = Field(default=None, description="Column that tells the series of a table apart.")
    time: str | None = Field(default=None, description="Column of a table with the times of the steps.")
    channels: str = Field(default="", description="Columns with the numbers, such as x,y; all others if left out.")
    order: Literal["rows", "pixels", "permuted"] = Field(
        default="rows", description="What a step of an image is: a row, a pixel, or a pixel in one random order."
    )
    scale: Literal["auto", "channel", "all", "series", "none"] = Field(
        default="auto",
        description="Make mean 0 and deviation 1 of each channel in training (auto), of all channels together (auto of "
        "images), or of each channel in each series by itself.",
    )
    missing: Literal["mask", "cell"] = Field(
        default="mask",
        description="Missing values: mask adds a channel that says which are there; cell leaves NaN to --cell gru_d.",
    )

    changeable: ClassVar = frozenset({"series", "time"})


class SoundsConfig(SpectrogramConfig):
    """How a sound is read: as a log-mel spectrogram, and how it is varied in training."""

    augment: bool = Field(default=False, description="SpecAugment: blot out stretches of time and bands in training.")
    skip_bad: bool = Field(default=False, description="Leave files out that cannot be read, and say so.")

    changeable: ClassVar = frozenset({"augment", "skip_bad"})


class ClassifierNetworkConfig(EitherLayersConfig):
    """The network: what the layers read, the layers, and how one answer is read out of them."""

    embedding_size: int = Field(default=100, ge=1, le=MOST_UNITS, description="Components of a token's vector.")
    frozen: bool = Field(default=False, description="Leave the vectors of --embeddings or --from-lm as they are.")
    hidden_size: int = Field(default=128, ge=1, le=MOST_UNITS, description="Units per layer and direction.")
    bidirectional: bool = Field(default=True, description="Read from the end too.")
    read_out: Literal["last", "mean", "max", "attention"] = Field(
        default="max", description="How the steps of an example become one vector."
    )
    dropout: Share = Field(default=0.5, description="Share of activations dropped, alike for all steps.")
    word_dropout: Share = Field(default=0.1, description="Share of tokens read as unknown, so that these are learnt.")

    changeable: ClassVar = EitherLayersConfig.changeable | {"frozen", "word_dropout"}

    @classmethod
    def of_recurrent(cls) -> tuple[str, ...]:
        """Those of any task; a Transformer sees all of an example, and no language model has its layers."""
        return (*super().of_recurrent(), "bidirectional", "from_lm")


class ClassifierTraining(TrainingConfig):
    """The optimisation, with the defaults of a classifier."""

    epochs: Count = Field(default=5, description="Passes over the examples. Left out, 30 over those that are no texts.")
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
        default="auto",
        description="Which figure decides what is kept; auto is accuracy, or micro F1 of multi-label, or RMSE.",
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
        >>> ClassifierConfig.build({"data": {"train": "films.tsv"}, "model": {"read_out": "max"}}).texts.tokenizer
        'word'
    """

    unused: ClassVar = frozenset({"window"})  # an example is read whole

    task: Literal["classifier"] = "classifier"
    data: ExamplesConfig
    texts: TextsConfig = TextsConfig()
    series: SeriesConfig = SeriesConfig()
    sounds: SoundsConfig = SoundsConfig()
    model: ClassifierNetworkConfig = ClassifierNetworkConfig()
    training: ClassifierTraining = ClassifierTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def idle(self) -> dict[str, str]:
        """Those of every training; and what belongs to examples, labels or networks that are not there."""
        idle = super().idle() | self.model.idle()
        if self.data.valid:
            idle["held_out"] = "a training without --valid"
        if self.data.folds is None and self.data.valid:
            idle |= dict.fromkeys(("group", "stratified"), "--folds, or a training without --valid")
        if self.texts.embeddings is None and self.texts.from_lm is None:
            idle["frozen"] = "--embeddings or --from-lm"
        if self.texts.tokenizer == "bpe":
            idle["min_count"] = "--tokenizer word, char or jamo"
        if not self.data.multi_label:
            idle |= dict.fromkeys(("separator", "threshold"), "--multi-label")
        if self.data.regression:
            idle |= dict.fromkeys(("class_weights", "label_smoothing", "stratified"), "a training without --regression")
        if self.data.per_step:
            idle |= {"read_out": "a training without --per-step", "stratified": "a training without --per-step"}
        return idle | self._of_other_inputs()

    def _of_other_inputs(self) -> dict[str, str]:
        """Options of the kinds of examples that these are not."""
        texts = dict.fromkeys(("embedding_size", "frozen", "word_dropout"), "--input text")
        of = {
            "text": texts | dict.fromkeys(TextsConfig.model_fields, "--input text"),
            "series": dict.fromkeys(SeriesConfig.model_fields, "--input series"),
            "sound": dict.fromkeys(SoundsConfig.model_fields, "--input sound"),
        }
        return {name: kind for other, names in of.items() if other != self.kind for name, kind in names.items()}

    @property
    def kind(self) -> str:
        """What the examples are: ``text``, ``series`` or ``sound``; found by looking at them if it is not said."""
        if self.data.input != "auto":
            return self.data.input
        # Not before it is asked for: the command line reads the options before anything that they name.
        from gateflow.tasks.classifier.inputs.look import kind_of

        if self.series.series or self.series.time or self.series.channels:
            return "series"
        named = filter(None, (self.data.label, self.data.group))
        return kind_of(self.data.train, asks_for_texts=self.texts.text is not None, columns=[*named])

    def found(self) -> ClassifierConfig:
        """The same with what is found by looking: the kind of the examples, the passes that it takes, a rate of sounds.

        Raises:
            DataError: no sound can be read.
        """
        kind = self.kind
        many = kind != "text" and "epochs" not in self.training.model_fields_set
        training = self.training.model_copy(update={"epochs": EPOCHS}) if many else self.training
        data, sounds = self.data.model_copy(update={"input": kind}), self.sounds
        if kind == "sound" and sounds.rate is None:
            from gateflow.data.sounds.reading import commonest_rate

            sounds = sounds.model_copy(update={"rate": commonest_rate(data.train)})
        return self.model_copy(update={"data": data, "sounds": sounds, "training": training})

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
