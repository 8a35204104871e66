"""Host and Origin as strings."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import pytest

from ebm_tracker.live.web.flags import add_web_flags, web_settings
from ebm_tracker.live.web.guard import Guard, host_name, is_allowed_host, is_loopback, is_same_origin


@pytest.mark.parametrize(("host", "name"), [
    ("localhost", "localhost"), ("LocalHost:8765", "localhost"), ("[::1]:8765", "::1"), ("example.org.", "example.org"),
    ("a@localhost", None), ("localhost/x", None), ("localhost?x", None), ("localhost#x", None), ("", None),
    ("localhost:port", None), ("[::1", None),
])  # fmt: skip
def test_host_names(host: str, name: str | None) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(("host", "listens_on", "allowed", "is_ours"), [
    ("127.0.0.1:1", "127.0.0.1", (), True),
    ("127.8.8.8", "127.0.0.1", (), True),
    ("10.0.0.7", "127.0.0.1", (), False),
    ("10.0.0.7", "0.0.0.0", (), True),  # an address cannot be rebound
    ("evil.example", "0.0.0.0", (), False),
    ("lab.example", "0.0.0.0", ("lab.example",), True),
    ("sub.lab.example", "0.0.0.0", ("lab.example",), False),
    ("robot", "robot", (), True),
    ("2130706433", "127.0.0.1", (), False),  # what some resolvers read as 127.0.0.1
])  # fmt: skip
def test_hosts_that_are_ours(host: str, listens_on: str, allowed: tuple[str, ...], is_ours: bool) -> None:
    assert is_allowed_host(host, listens_on, allowed) is is_ours


def test_origins() -> None:
    assert is_same_origin("http://localhost:8765", "localhost:8765", "http")
    assert is_same_origin("https://Lab.example", "lab.example", "https")
    for origin in ("http://localhost", "https://localhost:8765", "http://localhost:8765/", "null", ""):
        assert not is_same_origin(origin, "localhost:8765", "http")


@pytest.mark.parametrize(("host", "only_here"), [("127.0.0.1", True), ("localhost", True), ("::1", True),
                                                 ("0.0.0.0", False), ("::", False), ("robot", False)])  # fmt: skip
def test_loopback(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


@pytest.mark.parametrize(("scope", "status"), [
    ({"scheme": "http", "host": "lab.example", "origin": "https://lab.example"}, 200),  # a proxy that speaks https
    ({"scheme": "http", "host": "lab.example", "origin": "http://lab.example"}, 200),
    ({"scheme": "http", "host": "lab.example", "origin": "http://localhost"}, 403),
    ({"scheme": "http", "host": "localhost", "origin": "https://localhost"}, 403),
    ({"scheme": "http", "host": "localhost"}, 403),  # POST
    ({"scheme": "http", "host": ["localhost", "localhost"], "origin": "http://localhost"}, 421),
    ({"scheme": "http", "host": [], "origin": "http://localhost"}, 421),
    ({"scheme": "http", "host": "localhost", "origin": ["http://localhost", "http://evil.example"]}, 403),
])  # fmt: skip
def test_the_guard_before_an_application(scope: dict[str, Any], status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = []
    for name in ("host", "origin"):
        values = scope.get(name, [])
        headers += [(name.encode(), v.encode()) for v in ([values] if isinstance(values, str) else values)]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    request = {"type": "http", "method": "POST", "scheme": scope["scheme"], "headers": headers}
    asyncio.run(Guard(app, "127.0.0.1", ("lab.example",))(request, None, send))
    assert sent[0]["status"] == status
    assert (b"x-frame-options", b"DENY") in sent[0]["headers"]


def test_flags_make_settings() -> None:
    parser = argparse.ArgumentParser()
    add_web_flags(parser)
    plain = web_settings(parser.parse_args(["--web"]))
    assert (plain.host, plain.port, plain.allowed_hosts) == ("127.0.0.1", 8765, ())
    words = ["--host", "0.0.0.0", "--port", "0", "--allow-host", "Lab.Example", "--max_visitors", "9"]
    settings = web_settings(parser.parse_args(words))
    assert (settings.host, settings.port, settings.allowed_hosts) == ("0.0.0.0", 0, ("lab.example",))
    assert settings.limits.visitors == 9
    for bad in (["--port", "70000"], ["--port", "-1"], ["--max_visitors", "0"]):
        with pytest.raises(SystemExit):
            parser.parse_args(bad)
