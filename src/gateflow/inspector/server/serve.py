"""Where the server listens: this machine alone, on a free port, unless somebody has said that others may come."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import uvicorn

from gateflow.errors import ConfigError
from gateflow.inspector.server.application import FREE, Application
from gateflow.inspector.server.guard import Guard, Keys
from gateflow.inspector.session import Session

__all__ = ["LOOPBACK", "guarded", "listen", "serve"]

LOOPBACK = "127.0.0.1"

# Connections at once, each with a page or a stream of events; and seconds in which they end when the server does.
CONNECTIONS, FAREWELL = 64, 1


def serve(session: Session, *, host: str = LOOPBACK, port: int = 0, opened: Callable[[str], None]) -> None:
    """Answer a page until Ctrl-C.

    Args:
        session: what is asked.
        host: an address of this machine; see `is_loopback`.
        port: any free one if 0.
        opened: told the link when the server listens; it is good once.

    Raises:
        ConfigError: the address cannot be had.
    """
    with listen(host, port) as listening:
        port = listening.getsockname()[1]
        keys = Keys(port)
        options = {"log_level": "error", "access_log": False, "server_header": False, "lifespan": "on"}
        config = uvicorn.Config(
            guarded(session, keys, host, port),
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=FAREWELL,
            **options,
        )
        named = "127.0.0.1" if _is_any(host) else host
        opened(f"http://{f'[{named}]' if ':' in named else named}:{port}/#token={keys.token}")
        uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the address is none of this machine, or taken.
    """
    try:
        return socket.create_server((host, port), family=socket.getaddrinfo(host, port)[0][0])
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: {error.strerror or error}; choose others.") from None


def guarded(session: Session, keys: Keys, host: str, port: int) -> Guard:
    """The application of a session behind its guard."""
    hosts = {host.lower()} if host != LOOPBACK else {LOOPBACK, "localhost"}
    return Guard(Application(session, keys).routes, keys, hosts, port, FREE, any_address=_is_any(host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("my-server")
        (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
