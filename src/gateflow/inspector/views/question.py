"""What every question has in common: that it is checked, and which text it is about."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["LONGEST", "LONGEST_TEXT", "Answer", "OfText", "Outcome", "Question", "Span"]

# Characters of a text and steps of it: more would neither fit a screen nor answer while one types.
LONGEST_TEXT, LONGEST = 4000, 400

Outcome = Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=200)]
"""What can come out: its number, or its name."""


class Question(BaseModel):
    """It comes from a browser: what is not expected in it is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """It goes to a browser as JSON; what is not finite as null."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class OfText(Question):
    """A text, or one of the examples of a run.

    Attributes:
        run: the first run, 0, or the one that it is compared with, 1.
    """

    run: int = Field(default=0, ge=0, le=1)
    text: str | None = Field(default=None, max_length=LONGEST_TEXT)
    example: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.text is None) == (self.example is None):
            raise ValueError("give either a text or the number of an example")
        return self


class Span(Question):
    """Steps from `begin` to before `end`."""

    begin: int = Field(ge=0)
    end: int = Field(ge=1)

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if self.end <= self.begin:
            raise ValueError("a span ends after it begins")
        return self
