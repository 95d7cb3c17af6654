"""What each token of a translation looked at, as one page of HTML that loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateflow.files import write
from gateflow.tasks.translator.prediction import Answer
from gateflow.tasks.translator.tokens import Tokens

__all__ = ["attention_page", "write_attention"]

_HERE = Path(__file__).parent
# Tokens along a side that a page has room for.
MOST = 80


@dataclass(frozen=True)
class Drawn:
    """One translation: the tokens of both sides, and the weights of a row for each target token, in percent."""

    text: str
    source: Sequence[str]
    target: Sequence[str]
    weights: Sequence[Sequence[float]]
    cut: bool


def write_attention(file: Path, answers: Iterable[Answer], targets: Tokens) -> None:
    """Write the page of `attention_page`, whole or not at all, over what was there.

    Raises:
        WriteError: the file system refused.
    """
    # Tokens may be halves of surrogate pairs, which UTF-8 has no bytes for.
    write(file, attention_page(answers, targets).encode("utf-8", errors="replace"))


def attention_page(answers: Iterable[Answer], targets: Tokens) -> str:
    """The best translation of each source as a table: a row for each of its tokens, a column for each of the source's.

    Both are written as a reader knows them, see `Tokens.shown`. A cell is as dark as its weight. What has no attention,
    such as a blank line, is left out.
    """
    # Escaped by default: tokens come from a user's text.
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    drawn = [_drawn(answer, targets) for answer in answers if answer.best.weights is not None]
    return environment.get_template("attention.html").render(translations=drawn)


def _drawn(answer: Answer, targets: Tokens) -> Drawn:
    best, source = answer.best, answer.source
    assert best.weights is not None, "those without are left out"
    target = [*targets.shown(best.tokens), "<end>"]
    weights = [[100 * weight for weight in row] for row in best.weights[:MOST, :MOST].tolist()]
    cut = len(source) > MOST or len(target) > MOST
    return Drawn(best.text, source[:MOST], target[:MOST], weights, cut)
