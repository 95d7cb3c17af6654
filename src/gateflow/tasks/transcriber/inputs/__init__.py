"""Kinds of lines, one module each, by the names of ``--input``."""

from __future__ import annotations

from collections.abc import Mapping

from gateflow.tasks.transcriber.inputs.base import Input
from gateflow.tasks.transcriber.inputs.images import ImageInput
from gateflow.tasks.transcriber.inputs.sounds import SoundInput
from gateflow.tasks.transcriber.inputs.strokes import StrokeInput

__all__ = ["INPUTS"]

INPUTS: Mapping[str, Input] = {"image": ImageInput(), "sound": SoundInput(), "strokes": StrokeInput()}
"""All kinds."""
