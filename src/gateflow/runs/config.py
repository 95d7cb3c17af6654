"""What a run is made of: sections of options, read from TOML and from the command line.

The section ``training`` is the same for every task; a task adds its own by deriving from `RunConfig`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gateflow.errors import ConfigError, RunError
from gateflow.files import read_bounded
from gateflow.remedies.initial_weights import Initialiser, parted, with_number
from gateflow.runs.config_errors import first_config_error

# 1: windows and candidates; 2: batches and softmax samples, and every config.toml names its task.
# Version of the run folder that this gateflow writes; it reads this one and the older ones.
FORMAT = 2
# The task of a config.toml that names none: the first versions knew one task only.
FIRST_TASK = "lm"

Share = Annotated[float, Field(ge=0, lt=1)]
# TOML's integers have 64 bits and a sign; a larger one would be an error of another layer, without the option's name.
Count = Annotated[int, Field(ge=1, lt=2**63)]


def _named(text: str) -> str:
    Initialiser.parse(text)
    return text


# Initial weights as they are typed, ``chrono:60``: a name that there is, with the number that it takes.
InitialWeightsText = Annotated[str, AfterValidator(_named)]

# Of a configuration, and of a line of it: for each dot TOML keeps a table and a path to it, dots² in memory.
MOST_BYTES, MOST_DOTS = 64 << 10, 500
# Rows or steps of a batch; small enough for their product to be counted in 64 bits.
MOST_STEPS = 1 << 20


# How far back `chrono` is to remember if nothing says: as far as in the sentences of the agreement task.
WITHOUT_WINDOWS = 60


class ConfigSection(BaseModel):
    """One table of config.toml. Its fields are the options of the command line, with their descriptions as help."""

    # Frozen: a run is trained by what its file says. Unknown options are slips, and are told as such.
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False, frozen=True)

    changeable: ClassVar[frozenset[str]] = frozenset()
    """Options that may be changed in the config.toml of a run: its network computes the same with any of them."""

    @classmethod
    def lasting_options(cls) -> list[str]:
        """The options that must stay as they were when the network was made; places of files may always change."""
        places = {
            name for name, field in cls.model_fields.items() if Path in (field.annotation, *get_args(field.annotation))
        }
        return [name for name in cls.model_fields if name not in cls.changeable | places]


class TrainingConfig(ConfigSection):
    """The optimisation: batches, steps, rates, and when to look."""

    batch_size: int = Field(default=32, ge=1, le=MOST_STEPS, description="Sequences side by side.")
    window: int = Field(default=35, ge=1, le=MOST_STEPS, description="Time steps per truncated back-propagation.")
    epochs: Count = Field(default=8, description="Passes over the training data.")
    accumulate: Count = Field(default=1, description="Batches per update.")
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
    patience: Count | None = Field(
        default=None, description="Stop early after so many validations in a row without a better one."
    )
    average: Share | None = Field(
        default=None, description="Validate and keep a moving average of the weights, with this decay, such as 0.999."
    )
    log_every: Count = Field(default=50, description="Updates per line of metrics.jsonl.")
    validate_every: Count | None = Field(
        default=None, description="Updates between validations; each epoch if left out."
    )
    checkpoint_every: Count = Field(default=500, description="Updates between checkpoints.")
    monitor: bool = Field(default=True, description="Show how far the gradient reaches, next to the loss.")
    tracker: Literal["tensorboard", "wandb", "mlflow"] | None = Field(
        default=None, description="Hand the figures on to TensorBoard (in the run's folder), W&B or MLflow too."
    )

    @classmethod
    def lasting_options(cls) -> list[str]:
        """None: what the user changes of a training counts from the next update on."""
        return []

    @model_validator(mode="before")
    @classmethod
    def _reads_the_truth_of_older_runs(cls, found: Any) -> Any:
        # Runs of before there were other trackers say `tensorboard = false`, or true.
        if isinstance(found, dict) and isinstance(found.get("tensorboard"), bool):
            found = dict(found)
            if found.pop("tensorboard"):
                found.setdefault("tracker", "tensorboard")
        return found

    @field_validator("clip", mode="before")
    @classmethod
    def _clips_at_a_positive_norm(cls, value: Any) -> Any:
        # The command line gives text for an option that may be a number or a word, a TOML file gives the number.
        if value == "auto":
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = 0.0
        if not 0 < number < float("inf"):
            raise ValueError("neither a number above 0 nor auto")
        return number


class RunConfig(ConfigSection):
    """Everything needed to train again: the content of a run's config.toml. A task derives its own.

    Example:
        >>> class Mine(RunConfig):
        ...     task: Literal["mine"] = "mine"
        >>> Mine.build({"training": {"lr": 0.5}}).training.lr
        0.5
        >>> Mine.build({"training": {"lr": 0}})
        Traceback (most recent call last):
            ...
        gateflow.errors.ConfigError: --lr 0: input should be greater than 0.
    """

    renamed: ClassVar[Mapping[tuple[str, str], str]] = {}
    """Options of older versions, by section and name, and what they are called now: their files stay readable."""
    unused: ClassVar[frozenset[str]] = frozenset()
    """Options of the training that mean nothing to the task, and are not offered."""

    format: int = FORMAT
    task: Any  # a task says here which name is its own
    training: TrainingConfig = TrainingConfig()

    @classmethod
    def build(cls, options: Mapping[str, Mapping[str, Any]], file: Path | None = None) -> Self:
        """Options of a config file, if any, overridden by `options` (section → name → value).

        Raises:
            ConfigError: a value that cannot work, named as the user wrote it.
        """
        merged = cls._with_new_names(read_toml(file), file) if file else {}
        for section, values in options.items():
            found = merged.get(section, {})
            merged[section] = {**found, **values} if isinstance(found, dict) else found  # which is then refused
        merged = cls._with_initial_weights(merged)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(first_config_error(error, cls, options, file)) from None

    @classmethod
    def read(cls, file: Path) -> Self:
        """The configuration of an existing run, all of it checked.

        Raises:
            RunError, ConfigError: it is no configuration of this task, or one that a newer gateflow wrote.
        """
        task, own = task_of(file), cls.model_fields["task"].default
        if task != own:
            raise RunError(f"{file.parent} is a run of the task {task!s:.80}, and not of {own}, which is asked for.")
        found = cls.build({}, file)
        return found.model_copy(update={"format": FORMAT})

    @classmethod
    def sections(cls) -> dict[str, type[ConfigSection]]:
        """The tables by name, those of the task first: the order in which a user thinks of them.

        Example:
            >>> list(RunConfig.sections())
            ['training']
        """
        found = {name: field.annotation for name, field in cls.model_fields.items()}
        tables = {
            name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, ConfigSection)
        }
        return {name: tables[name] for name in sorted(tables, key=lambda name: name == "training")}

    def idle(self) -> dict[str, str]:
        """Options that another one makes idle, and what they belong to; typed on the command line they are refused."""
        return {} if self.training.optimizer == "sgd" else {"momentum": "--optimizer sgd"}

    def lasting(self) -> dict[str, Any]:
        """By ``section.option`` what a network was made by, and means nothing without; see `gateflow.runs.lasting`."""
        found, idle = self.model_dump(mode="json"), self.idle()
        # A module is a place too, and may have moved; of ``module:Class`` the class is kept.
        classes = {code: ":" + code.partition(":")[2] for code in self.named_code() if ":" in code}
        return {
            f"{section}.{name}": classes.get(str(value := found[section][name]), value)
            for section, kind in self.sections().items()
            for name in kind.lasting_options()
            if name not in idle
        }

    @classmethod
    def default_of(cls, name: str) -> Any:
        """What an option ``section.option`` is if nothing is said of it."""
        section, _, option = name.partition(".")
        return cls.sections()[section].model_fields[option].get_default(call_default_factory=True)

    def named_code(self) -> tuple[str, ...]:
        """What opening the run would import, if it is code of somebody's own: such as a cell ``module:Class``."""
        return ()

    def to_toml(self) -> str:
        """The text of config.toml; options that were left out stay out."""
        found = self.model_dump(mode="json", exclude_none=True)
        return tomli_w.dumps({name: found[name] for name in ("format", "task", *self.sections())})

    @classmethod
    def _with_initial_weights(cls, found: dict[str, Any]) -> dict[str, Any]:
        """``cell = "lstm:chrono"`` as cell and initial weights; without a number for as far as the task looks back."""
        for section, kind in cls.sections().items():
            table = found.get(section)
            if not isinstance(table, dict) or not {"cell", "init"} <= kind.model_fields.keys():
                continue
            cell, weights = parted(table["cell"]) if isinstance(table.get("cell"), str) else ("", None)
            if weights is None:
                continue
            if table.get("init") is not None:
                raise ConfigError(
                    f"--cell {table['cell']} has initial weights, and --init {table['init']} too; take one."
                )
            found = {**found, section: {**table, "cell": cell, "init": with_number(weights, cls._looks_back(found))}}
        return found

    @classmethod
    def _looks_back(cls, found: dict[str, Any]) -> int:
        """Steps: a window of back-propagation, where the task has them."""
        training = found.get("training")
        typed = training.get("window") if isinstance(training, dict) else None
        windows = typed if isinstance(typed, int) else TrainingConfig.model_fields["window"].default
        return WITHOUT_WINDOWS if "window" in cls.unused else windows

    @classmethod
    def _with_new_names(cls, found: dict[str, Any], file: Path) -> dict[str, Any]:
        for (section, old), new in cls.renamed.items():
            table = found.get(section)
            if not isinstance(table, dict) or old not in table:
                continue
            if new in table:
                raise ConfigError(
                    f"[{section}] {old} in {file} is the old name of {new}, which is there too: take one."
                )
            table[new] = table.pop(old)
        return found


def task_of(file: Path) -> str:
    """The task that a run's config.toml is of; all else in it is left to that task.

    Raises:
        RunError: it is no configuration of a run, or one that a newer gateflow wrote.
        ConfigError: it is no TOML.
    """
    found = read_toml(file)
    version, task = found.get("format"), found.get("task", FIRST_TASK)
    # True is an int in Python, and TOML has both.
    if type(version) is not int or not 0 < version < 2**31:
        has = "no `format`" if version is None else f"`format = {in_toml(version)}`, which is no version"
        raise RunError(f"{file} has {has}, so it is not the configuration of a run.")
    if version > FORMAT:
        raise RunError(
            f"{file.parent} was written in run format {version}, and this gateflow reads up to {FORMAT}. "
            "Upgrade it: pip install --upgrade gateflow."
        )
    if not isinstance(task, str):
        raise RunError(f"{file} names {task!r:.80} as its task, which is no name; restore it from a copy.")
    return task


def in_toml(value: object) -> str:
    """A value as it stands in a file, if it is one of a few words."""
    if isinstance(value, dict | list):
        return "..."
    try:
        text = tomli_w.dumps({"": value}).partition(" = ")[2].strip()[:80]
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    # A file may hold what steers a terminal.
    return text if text.isprintable() else ascii(text)[1:-1]


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
