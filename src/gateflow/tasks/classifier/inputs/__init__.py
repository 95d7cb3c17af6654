"""Kinds of examples, one module each, by the names of ``--input``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateflow.tasks.classifier.inputs.base import Input
from gateflow.tasks.classifier.inputs.series import SeriesInput
from gateflow.tasks.classifier.inputs.sounds import SoundInput
from gateflow.tasks.classifier.inputs.texts import TextInput

__all__ = ["INPUTS"]

INPUTS: Mapping[str, Input[Any]] = {"text": TextInput(), "series": SeriesInput(), "sound": SoundInput()}
"""All kinds."""
