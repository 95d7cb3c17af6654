"""``gateflow generate``: let a run go on with a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, write_exactly
from gateflow.errors import ConfigError

LONGEST_PROMPT = 1 << 20
"""Characters read from a pipe, which may have no end."""


def generate(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    prompt: Annotated[str | None, typer.Option(help="Text to go on from; else stdin, if piped.")] = None,
    length: Annotated[int, typer.Option(min=1, help="Tokens to write.")] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="Below 1 bolder, above 1 wilder, 0 the likeliest.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Choose among the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Choose among the likeliest p.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same text.")] = 0,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """Go on with a text, token by token.

    Example: `gateflow generate runs/mine --prompt "The cat" --length 50 --temperature 0.8`
    """
    from gateflow.training.reading import continue_text
    from gateflow.training.runs import Run
    from gateflow.training.trust import Trust

    text = _piped() if prompt is None else prompt
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    pieces = continue_text(Run.open(run, Trust(trust_code)), text, length, **options)
    if json:
        print_json({"prompt": text, "text": "".join(pieces), "length": length, **options})
        return
    write_exactly(text)
    for piece in pieces:
        write_exactly(piece)
    write_exactly("", end="\n")


def _piped() -> str:
    if sys.stdin.isatty():
        return ""
    try:
        text = sys.stdin.read(LONGEST_PROMPT + 1)
    except UnicodeDecodeError as error:
        raise ConfigError(f"the text that is piped in is not UTF-8 ({error}); convert it with iconv.") from None
    if len(text) > LONGEST_PROMPT:
        raise ConfigError(f"more than {LONGEST_PROMPT:,} characters are piped in; give a shorter text to go on from.")
    return text.rstrip("\n")
