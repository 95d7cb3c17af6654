"""``gateflow inspect``: a local page on which one plays with a model."""

from __future__ import annotations

import webbrowser
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, say, write
from gateflow.errors import ConfigError
from gateflow.files import write as write_file


def inspect(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    other: Annotated[
        Path | None, typer.Argument(metavar="[RUN2]", help="Another run, to be compared with it.", show_default=False)
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Sentences with and without a mistake, as for `gateflow agreement`.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any that is free.")] = 0,
    host: Annotated[str, typer.Option(help="Address on which it listens.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be an address that other machines can reach.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")] = True,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """Look into a model while you type: what it expects, what it remembers, what its gates do. A page on this machine.

    Example: `gateflow inspect quickstart-runs/lstm quickstart-runs/lstm-chrono`

    With two runs it shows both on the same sentence. The page is for you alone: it listens on 127.0.0.1, and its link
    is good once. Ctrl-C ends it.
    """
    _require_server()
    from gateflow.inspector.server.address import is_loopback, listen

    # All that can be refused at once is, before torch is loaded, which takes seconds.
    _refuse_remote(is_loopback(host), host, allow_remote)
    from gateflow.data.pairs import read_pairs
    from gateflow.inspector.opening import shown_run
    from gateflow.runs.trust import Trust

    paths, trust = [path for path in (run, other) if path is not None], Trust(trust_code)
    for path in paths:
        shown_run(path, trust)
    compared = list(read_pairs(pairs)) if pairs else []
    with ExitStack() as until_the_end, suppress(KeyboardInterrupt):
        listening = until_the_end.enter_context(listen(host, port))
        from gateflow.inspector.server import serve
        from gateflow.inspector.session import Session, subject_of

        session = Session([subject_of(path, trust) for path in paths], compared)

        def opened(link: str) -> None:
            print_json({"link": link}) if json else write(link)
            say("The link is good once, for one browser. Ctrl-C ends.", style="dim")
            if browser:
                folder = until_the_end.enter_context(TemporaryDirectory(prefix="gateflow-"))
                webbrowser.open(_leading_to(link, Path(folder)))

        serve.serve(session, listening, host, opened=opened)


def _leading_to(link: str, folder: Path) -> str:
    """The address of a file that leads to a link: arguments of a program, such as a browser, can be read by others."""
    file = folder / "open.html"
    write_file(file, f'<!doctype html><meta http-equiv="refresh" content="0; url={link}">', private=True)
    return file.as_uri()


def _require_server() -> None:
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise ConfigError(f"the inspector needs {name}: pip install 'gateflow[inspect]'.")


def _refuse_remote(is_loopback: bool, host: str, allowed: bool) -> None:
    if is_loopback:
        return
    if not allowed:
        raise ConfigError(
            f"--host {host} can be reached from other machines: who can read the link, or the network between, can "
            "read your run and its texts, for nothing is encrypted. If that is meant, add --allow-remote; safer is "
            "`ssh -L PORT:127.0.0.1:PORT` with --port PORT."
        )
    say(f"note: {host} can be reached from other machines, and nothing is encrypted.", style="dim")
