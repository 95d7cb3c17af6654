"""The options of the agreement task: which sentences, which network, and how it is trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from gateflow.data.agreement import BUCKETS
from gateflow.runs.config import ConfigSection, InitialWeightsText, RunConfig, TrainingConfig

# Which distances the training sentences have: all from 1 to 60, or only 21 to 60.
DISTANCES = {"all": BUCKETS, "far": BUCKETS[3:]}
# More than any machine trains, and small enough to be counted.
MOST_UNITS, MOST_SENTENCES = 1 << 20, 10**7


class SentencesConfig(ConfigSection):
    """Which sentences of the grammar are learned from."""

    distances: Literal["all", "far"] = Field(default="all", description="From subject to verb: 1 to 60, or 21 to 60.")
    # 600 updates of 32: with them an LSTM agrees over 60 words, and five cells take a minute on two cores.
    sentences: int = Field(default=19_200, ge=1, le=MOST_SENTENCES, description="Sentences to learn from.")
    tested: int = Field(default=1000, ge=1, le=MOST_SENTENCES, description="Other sentences to validate on.")


class ReaderConfig(ConfigSection):
    """The network: embedding, one recurrent layer, scores of the next word."""

    cell: str = Field(
        default="lstm", description="Recurrent cell, listed by `gateflow cells`; CELL:WEIGHTS for initial weights."
    )
    embedding_size: int = Field(default=64, ge=1, le=MOST_UNITS, description="Components of a word vector.")
    hidden_size: int = Field(default=64, ge=1, le=MOST_UNITS, description="Units.")
    init: InitialWeightsText | None = Field(
        default=None, description="Initial weights: orthogonal, identity, forget:1 or chrono:60."
    )
    # Without the other words even a tanh RNN learns every distance, by holding one bit; with all of them at full weight
    # the verb's signal drowns. Why 0.3: see `gateflow.tasks.agreement.model`.
    word_share: float = Field(default=0.3, ge=0, le=1, description="Weight of the loss of all words.")

    changeable: ClassVar = frozenset({"word_share"})


class AgreementTraining(TrainingConfig):
    """The optimisation, with the defaults of the study: one pass, a constant rate."""

    epochs: int = Field(default=1, ge=1, lt=2**63, description="Passes over the sentences.")
    lr: float = Field(default=1e-2, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="constant", description="Learning rate after warm-up."
    )
    warmup: int = Field(
        default=0, ge=0, lt=2**63, description="Updates over which the learning rate rises; at most a tenth of all."
    )

    @classmethod
    def lasting_options(cls) -> list[str]:
        """The seed: it draws the sentences to test on, and with another one some of them have been learnt."""
        return ["seed"]


class AgreementConfig(RunConfig):
    """The content of an agreement run's config.toml.

    Example:
        >>> AgreementConfig.build({"model": {"init": "chrono:60"}}).training.lr
        0.01
    """

    unused: ClassVar = frozenset({"window"})  # a sentence is read whole

    task: Literal["agreement"] = "agreement"
    data: SentencesConfig = SentencesConfig()
    model: ReaderConfig = ReaderConfig()
    training: AgreementTraining = AgreementTraining()  # type: ignore[assignment]  # frozen, by `model_config`

    def named_code(self) -> tuple[str, ...]:
        """The cell."""
        return (self.model.cell,)
