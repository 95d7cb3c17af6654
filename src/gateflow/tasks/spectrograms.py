"""The options of log-mel spectrograms, the same in every task that hears sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from gateflow.runs.config import ConfigSection

if TYPE_CHECKING:  # the command line reads the options before anything that they name
    from gateflow.data.sounds.spectrogram import LogMel

__all__ = ["SpectrogramConfig"]


class SpectrogramConfig(ConfigSection):
    """How a sound is read. A task may derive its own, with more options and other defaults."""

    rate: int | None = Field(
        default=None, ge=1000, le=384_000, description="Samples a second; what most of --data have if left out."
    )
    bands: int = Field(default=40, ge=1, le=512, description="Bands of the log-mel spectrogram.")
    frame: float = Field(default=0.025, gt=0, le=1, description="Seconds that a step looks at.")
    hop: float = Field(default=0.01, gt=0, le=1, description="Seconds from step to step.")
    top_db: float | None = Field(
        default=None, gt=0, description="Decibels below the loudest part that are told apart; 50 for speech."
    )
    centred: bool = Field(default=False, description="Take each band's mean over a recording away, as for speech.")
    deltas: bool = Field(default=False, description="Read the bands' slopes, and the slopes of these, too.")

    def features(self) -> LogMel:
        """What makes spectrograms of sounds; the rate must be known.

        Raises:
            ConfigError: it would be none.
        """
        from gateflow.data.sounds.spectrogram import LogMel

        assert self.rate is not None, "found by looking at the files, before anything is read"
        return LogMel(
            rate=self.rate,
            bands=self.bands,
            window=self.frame,
            hop=self.hop,
            top_db=self.top_db,
            centred=self.centred,
            with_deltas=self.deltas,
        )
