"""``gateflow evaluate``: the perplexity of a run on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, write


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Text, plain or gz, UTF-8; - for a pipe.", show_default=False)],
    batch_size: Annotated[int, typer.Option(min=1, help="Stretches of the text read side by side.")] = 10,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """Perplexity of a run on a text, per token and per word.

    Example: `gateflow evaluate runs/mine --data test.txt`

    Words are counted with one end per line, whatever the tokenizer, so that runs compare.
    """
    from gateflow.training.reading import measure
    from gateflow.training.runs import Run
    from gateflow.training.trust import Trust

    figures = measure(Run.open(run, Trust(trust_code)), data, batch_size)
    if json:
        print_json(figures._asdict())
        return
    write(f"perplexity per token  {figures.perplexity:,.2f}   ({figures.tokens:,} tokens)")
    write(f"perplexity per word   {figures.word_perplexity:,.2f}   ({figures.words:,} words)")
