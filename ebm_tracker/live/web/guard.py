"""Who may talk to the server: checks of the Host and Origin headers, and headers for the browser.

A page from elsewhere can make a visitor's browser call a server on the loopback address. It cannot choose the headers
that the browser adds: Origin names the page's own site, and after DNS rebinding Host names the attacker's domain.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
FIXED_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case and without port; None when it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  raises ValueError for a port that is none
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or "@" in host or not parts.hostname:
        return None
    return parts.hostname.rstrip(".").lower()


def is_allowed_host(host: str, listens_on: str, allowed: tuple[str, ...]) -> bool:
    """Whether a Host header names this server: localhost, a listed name, or an address, which DNS cannot rebind.

    A server on the loopback address accepts loopback addresses only.
    """
    name = host_name(host)
    if name is None:
        return False
    if name == "localhost" or name in allowed or name == listens_on.lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not is_loopback(listens_on)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Whether an Origin header names the scheme and the very server and port that the Host header does."""
    return origin.lower() == f"{scheme}://{host.lower()}"


class Guard:
    """ASGI wrapper that refuses calls from elsewhere and adds the headers above to every answer.

    HTTP: 421 for a foreign Host, 403 for a foreign Origin, also for a missing one where the method changes something.
    WebSocket: Origin must be there; the handshake is answered with 403.
    """

    def __init__(self, app: App, listens_on: str, allowed: tuple[str, ...]) -> None:
        self._app, self._listens_on, self._allowed = app, listens_on, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403
            return
        host = dict(headers).get("host", "")
        marked = _with_headers(send, host)
        if refusal is None:
            await self._app(scope, receive, marked)
            return
        status, text = refusal
        body = text.encode()
        lines = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await marked({"type": "http.response.start", "status": status, "headers": lines})
        await marked({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope, headers: list[tuple[str, str]]) -> tuple[int, str] | None:
        hosts = [value for name, value in headers if name == "host"]
        origins = [value for name, value in headers if name == "origin"]
        if len(hosts) != 1 or not is_allowed_host(hosts[0], self._listens_on, self._allowed):
            return 421, "This server does not answer to that name (see --allow_host).\n"
        needed = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if not origins:
            return (403, "The Origin header is missing.\n") if needed else None
        # A listed name may be that of a proxy that speaks https for us.
        schemes = ("https", "http") if host_name(hosts[0]) in self._allowed else (_SCHEMES[scope["scheme"]],)
        if len(origins) > 1 or not any(is_same_origin(origins[0], hosts[0], scheme) for scheme in schemes):
            return 403, "Pages of other sites may not use this server.\n"
        return None


def _with_headers(send: Send, host: str) -> Send:
    # Safari before 15.4 does not count WebSockets of the same host to 'self'. A name that is not one adds nothing.
    sockets = f"ws://{host} wss://{host}" if host_name(host) is not None else ""
    added = {**FIXED_HEADERS, "content-security-policy": POLICY.format(sockets=sockets)}

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", ()) if name.decode("latin-1") not in added]
            extra = [(name.encode(), value.encode("latin-1")) for name, value in added.items()]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return marked
