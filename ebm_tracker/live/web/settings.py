"""Limits of the web server: what one visitor, and all of them, may ask for."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PORT = 8765


@dataclass(frozen=True)
class WebLimits:
    """``visitors``: pages open at once; ``objects``: boxes a visitor may have at once.

    ``upload_bytes``, ``upload_seconds``, ``upload_frames``: of one video; ``frame_pixels``: of any picture that comes
    from a browser; ``message_bytes``: of one WebSocket message, which is a JPEG of the visitor's camera at most;
    ``recording_bytes``: JPEGs kept per visitor for the annotated video; ``in_flight``: frames sent and not yet reported
    as shown; newer ones replace each other until one is.
    """

    visitors: int = 4
    objects: int = 16
    upload_bytes: int = 200 * 2**20
    upload_seconds: float = 600.0
    upload_frames: int = 40_000
    frame_pixels: int = 1920 * 1200
    message_bytes: int = 2 * 2**20
    recording_bytes: int = 256 * 2**20
    in_flight: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0 (got {value})")


@dataclass(frozen=True)
class WebSettings:
    """``host``, ``port``: where the server listens (port 0: a free one); ``allowed_hosts``: further names, in lower
    case, by which browsers may call it."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    limits: WebLimits = WebLimits()
