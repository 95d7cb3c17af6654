"""The server: on this machine alone, on a free port, unless somebody has said that others may come."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Event
from types import FrameType

import uvicorn

from gateflow.inspector.server.address import LOOPBACK, is_any
from gateflow.inspector.server.application import FREE, Application
from gateflow.inspector.server.guard import Guard, Keys
from gateflow.inspector.session import Session

__all__ = ["guarded", "serve"]

# Connections at once, each with a page or a stream of events; and seconds in which they end when the server does.
CONNECTIONS, FAREWELL = 64, 1


def serve(session: Session, listening: socket.socket, host: str, *, opened: Callable[[str], None]) -> None:
    """Answer a page until Ctrl-C.

    Args:
        session: what is asked.
        listening: the socket on which it is; see `listen`.
        host: the address of it, as it was asked for.
        opened: told the link when the server listens; it is good once.
    """
    port = listening.getsockname()[1]
    keys, ending = Keys(port), Event()
    options = {"log_level": "error", "access_log": False, "server_header": False, "lifespan": "on"}
    config = uvicorn.Config(
        guarded(session, keys, host, port, ending),
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=FAREWELL,
        **options,
    )
    named = "127.0.0.1" if is_any(host) else host
    opened(f"http://{f'[{named}]' if ':' in named else named}:{port}/#token={keys.token}")
    _Server(config, ending).run(sockets=[listening])


class _Server(uvicorn.Server):
    """It says that it ends when Ctrl-C comes, and not when all streams have ended, which they never would."""

    def __init__(self, config: uvicorn.Config, ending: Event):
        super().__init__(config)
        self.ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or another signal to end."""
        self.ending.set()
        super().handle_exit(sig, frame)


def guarded(session: Session, keys: Keys, host: str, port: int, ending: Event | None = None) -> Guard:
    """The application of a session behind its guard."""
    hosts = {host.lower()} if host != LOOPBACK else {LOOPBACK, "localhost"}
    return Guard(
        Application(session, keys, ending or Event()).routes, keys, hosts, port, FREE, any_address=is_any(host)
    )
