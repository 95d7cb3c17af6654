"""Who may ask, and how much: every request passes here before anything of a run is looked at.

A page of another site that the user has open can send requests to this machine, and by a name of its own that it lets
point here (DNS rebinding) read the answers too. So the name that is asked for, `Host`, must be ours, a request that
asks for something must come from our own page (`Origin`) with JSON, which no form can send, and must bring the cookie
that was given for the token of the link. Nothing is ever said to other origins (no CORS).
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

__all__ = ["LARGEST_BODY", "Guard", "Keys"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# A question is a text of at most 4000 characters and some numbers; an export repeats some dozens of them.
LARGEST_BODY = 1 << 18

HEADERS = {
    # Plotly sets attributes of style and fills a style element, so that styles may stand in the page; scripts may not.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""What every answer says."""


class Keys:
    """The token of the link, which is good once, and the cookie that is given for it.

    Args:
        port: cookies of a machine are sent to all its ports, so that the name tells them apart.

    Example:
        >>> keys = Keys(8000)
        >>> keys.exchange("guessed"), keys.exchange(keys.token) == keys.cookie, keys.exchange(keys.token)
        (None, True, None)
    """

    def __init__(self, port: int):
        self.name, self.cookie = f"gateflow-{port}", secrets.token_urlsafe(32)
        self.token: str = secrets.token_urlsafe(32)
        self._unused = True

    def exchange(self, token: str) -> str | None:
        """The cookie, once."""
        right = secrets.compare_digest(token.encode(), self.token.encode())
        if not (right and self._unused):
            return None
        self._unused = False
        return self.cookie

    def opens(self, cookies: str) -> bool:
        """Whether the header `Cookie` holds the cookie."""
        try:
            found = SimpleCookie(cookies).get(self.name)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), self.cookie.encode())


class Guard:
    """An application behind the rules above.

    Args:
        application: what is guarded.
        keys: of this server.
        hosts: names and addresses under which it may be asked for, without a port.
        port: its port.
        any_address: whether it may be asked for by any address of the machine, but by no other name.
        free: paths of the page itself, which hold nothing of a run.
    """

    def __init__(
        self,
        application: Any,
        keys: Keys,
        hosts: Collection[str],
        port: int,
        free: Collection[str],
        *,
        any_address: bool = False,
    ):
        self.application, self.keys, self.hosts, self.port = application, keys, hosts, port
        self.free, self.any_address = free, any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As servers call it."""
        if scope["type"] != "http":
            # There are no sockets of the web here, and a lifespan is the server's own.
            if scope["type"] == "lifespan":
                await self.application(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refused(scope, headers)
        if refusal is None and scope["method"] == "POST":
            receive, refusal = await _whole(receive, headers)
        if refusal is None:
            await self.application(scope, receive, _with_headers(send))
        else:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        method, path, origin = scope["method"], scope["path"], headers.get("origin")
        if method not in ("GET", "HEAD", "POST"):
            return 405, "this server answers GET and POST."
        if len(headers.getlist("host")) != 1 or not self._ours(headers["host"]):
            return 403, "this server has another name; open the link that gateflow has printed."
        if origin is not None and not self._ours(origin.removeprefix("http://")):
            return 403, "a page of another origin asks."
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "a page of another site asks."
        if method == "POST" and origin is None:
            return 403, "a request that does not say where it comes from is not answered."
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "questions are JSON: content-type application/json."
        if path in self.free or self.keys.opens(headers.get("cookie", "")):
            return None
        return 403, "open the link that gateflow has printed; each one is good once. Start gateflow again for another."

    def _ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if port != str(self.port):
            return False
        name = name.removeprefix("[").removesuffix("]").lower()
        return name in self.hosts or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _whole(receive: Receive, headers: Headers) -> tuple[Receive, tuple[int, str] | None]:
    """The body, read up to its limit, as one message; or why it is refused."""
    too_long = 413, f"a question has at most {LARGEST_BODY:,} bytes."
    declared = headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or int(declared[:12]) > LARGEST_BODY:
        return receive, too_long
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return receive, (400, "the request ended before its body.")
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            return receive, too_long
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Any:
        return next(given, None) or await receive()

    return again, None


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
