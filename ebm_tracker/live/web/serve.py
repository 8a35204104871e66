"""``ebm live --web``: loads the tracker, says where the page is, serves until Ctrl-C."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ebm_tracker.demo import find_demo_clip
from ebm_tracker.errors import EbmError, VideoError
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.session import ObjectsTracker
from ebm_tracker.live.web.app import WebServer
from ebm_tracker.live.web.flags import web_settings
from ebm_tracker.live.web.guard import is_loopback
from ebm_tracker.live.web.settings import WebSettings
from ebm_tracker.live.web.sources import ServerSources
from ebm_tracker.live.web.tracking import TrackingEngine


class WebError(EbmError):
    """The page cannot be served: an extra is missing or the address is not free."""


def serve(args: argparse.Namespace) -> int:
    """Serves as the flags of ``ebm live --web`` say, until KeyboardInterrupt.

    Raises EbmError, ValueError or OSError with one sentence for what the user can put right, before the page is there.
    """
    require_web()
    settings = web_settings(args)
    listener = listen(settings)
    with listener:
        sources = ServerSources(source_words(getattr(args, "source", None)), open_live_source)
        engine = TrackingEngine(tracker_maker(args), density_picture, {"preset": args.preset})
        try:
            announce(settings, listener.getsockname()[1], sources.names)
            run_server(WebServer(engine, sources, settings), listener)
        finally:
            engine.close()
    return 0


def require_web() -> None:
    """Raises WebError when the extra is not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise WebError(f"the page needs the extra web: pip install 'ebm-tracker[web]' ({error})") from error


def source_words(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """What --source was given; without it the demo clip, where it is installed."""
    if given:
        return (given,) if isinstance(given, str) else tuple(str(word) for word in given)
    try:
        return (str(find_demo_clip()),)
    except VideoError:
        return ()


def open_live_source(word: str) -> Any:
    """``ebm_tracker.live.sources.open_source``."""
    from ebm_tracker.live.sources import open_source

    return open_source(word)


def tracker_maker(args: argparse.Namespace) -> Callable[[], ObjectsTracker]:
    """Loads the network once; the result makes trackers that share it."""
    from ebm_tracker.cli.loading import load_tracker
    from ebm_tracker.tracking import MultiTracker

    first: Any = load_tracker(args, profile=False)
    return lambda: MultiTracker(
        first.network, first.config, device=first.device, seed=first.seed, keep_details=True
    )


def density_picture(tracker: Any, frame: RgbFrame, object_id: Any, grid: int) -> RgbFrame:
    """The frame with the density of an object's top-right corner over it. Raises DensityError."""
    from ebm_tracker.density import DensityError, corner_density, overlay

    try:
        return overlay(frame, corner_density(tracker, object_id, grid=grid))
    except DensityError as error:
        message = f"object {object_id} has a density after its first frame, while it is found"
        raise DensityError(message) from error


def listen(settings: WebSettings) -> socket.socket:
    """A socket that listens where the settings say. Raises WebError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise WebError(f"--host {settings.host} is no address of this machine ({error})") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        where = f"{settings.host} port {settings.port}"
        raise WebError(f"cannot listen on {where} ({error.strerror or error}); --port chooses another") from error
    return listener


def announce(settings: WebSettings, port: int, names: Sequence[str]) -> None:
    """Prints the address, for whom it is, and the sources."""
    from rich.console import Console

    console = Console(highlight=False)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    shown = "localhost" if settings.host in ("0.0.0.0", "::") else host
    console.print(f"page: http://{shown}:{port}/", markup=False, soft_wrap=True)
    console.print(f"sources: {', '.join(names) or 'none of this machine'}", markup=False, soft_wrap=True)
    if not is_loopback(settings.host):
        console.print(
            "anyone who reaches this address can use the page and see its sources; browsers give their camera only to "
            "https and localhost",
            markup=False,
            soft_wrap=True,
        )
    console.print("Ctrl-C ends it", markup=False)


def run_server(server: WebServer, listener: socket.socket, started: Callable[[Any], None] | None = None) -> None:
    """Serves on the socket until Ctrl-C, or until somebody sets ``should_exit`` of what ``started`` is given."""
    import uvicorn

    config = uvicorn.Config(
        server.app(),
        lifespan="off",  # interrupted while it starts, uvicorn would print a traceback
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=server.settings.limits.message_bytes,
        ws_ping_interval=10.0,  # a visitor whose machine went to sleep is gone after 20 seconds
        ws_ping_timeout=10.0,
        ws_per_message_deflate=False,  # JPEGs do not get smaller
        timeout_graceful_shutdown=3,
        limit_concurrency=64 + 8 * server.settings.limits.visitors,
        proxy_headers=False,
    )
    uvicorn_server = uvicorn.Server(config)
    if started is not None:
        started(uvicorn_server)
    try:
        uvicorn_server.run(sockets=[listener])
    finally:
        server.close()
