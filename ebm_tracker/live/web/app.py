"""The web server's routes: the page, one WebSocket per visitor, uploads and downloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from importlib.resources import files
from typing import Any

from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.live.web.guard import App, Guard
from ebm_tracker.live.web.outbox import Outbox
from ebm_tracker.live.web.settings import WebSettings
from ebm_tracker.live.web.sources import ServerSources
from ebm_tracker.live.web.tracking import TrackingEngine
from ebm_tracker.live.web.visitor import Visitor

# Address -> file of this package and its kind. Nothing else is ever read for an answer.
PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/stream.js": ("stream.js", "text/javascript; charset=utf-8"),
    "/curves.js": ("curves.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
CLOSE_FULL, CLOSE_FLOODED, CLOSE_BAD = 4003, 4008, 4000
_UPLOAD_IDLE_S = 30.0
_COMMAND_LENGTH = 2000


class WebServer:
    """State of the server; ``app`` answers for it. ``visitors``: token -> open page."""

    def __init__(self, engine: TrackingEngine, sources: ServerSources, settings: WebSettings) -> None:
        self.engine, self.sources, self.settings = engine, sources, settings
        self.visitors: dict[str, Visitor] = {}
        self._joining = 0

    def app(self) -> App:
        """The ASGI application, behind its guard."""
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        routes = [
            *(Route(address, self._page_file) for address in PAGE_FILES),
            Route("/upload", self._upload, methods=["POST"]),
            Route("/results/{token}/{name}", self._results),
            WebSocketRoute("/stream", self._stream),
        ]
        app: Any = Starlette(routes=routes)
        return Guard(app, self.settings.host, self.settings.allowed_hosts)

    def close(self) -> None:
        """Frees the visitors who are still there, once nothing is served any more."""
        for visitor in list(self.visitors.values()):
            visitor.close()

    async def _page_file(self, request: Any) -> Any:
        from starlette.responses import Response

        name, kind = PAGE_FILES[request.url.path]
        return Response(files("ebm_tracker.live.web").joinpath("page", name).read_bytes(), media_type=kind)

    # The stream --------------------------------------------------------------------------------------------------

    async def _stream(self, socket: Any) -> None:
        limits = self.settings.limits
        await socket.accept()
        if len(self.visitors) + self._joining >= limits.visitors:
            await socket.close(CLOSE_FULL, f"{limits.visitors} pages are open, as many as this server serves")
            return
        outbox = Outbox(asyncio.get_running_loop(), limits.in_flight)
        self._joining += 1
        try:
            visitor = await asyncio.to_thread(Visitor, self.engine, self.sources, outbox, limits)
            self.visitors[visitor.token] = visitor
        finally:
            self._joining -= 1
        try:
            hello = {"event": "hello", "token": visitor.token, "sources": self.sources.names, **self.engine.facts}
            await socket.send_json({**hello, "limits": vars(limits)})
            await self._serve(socket, visitor, outbox)
        finally:
            visitor.leave()
            await asyncio.shield(self._free(visitor))

    async def _free(self, visitor: Visitor) -> None:
        try:
            await asyncio.to_thread(visitor.close)
        finally:
            self.visitors.pop(visitor.token, None)

    async def _serve(self, socket: Any, visitor: Visitor, outbox: Outbox) -> None:
        """Until either direction ends."""
        tasks = [
            asyncio.create_task(self._receive(socket, visitor, outbox)),
            asyncio.create_task(self._send(socket, outbox)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            code = task.result()
            if code is not None:
                with contextlib.suppress(RuntimeError):  # the browser closed it at the same moment
                    await socket.close(code)

    async def _receive(self, socket: Any, visitor: Visitor, outbox: Outbox) -> int | None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            data, text = message.get("bytes"), message.get("text")
            if data is not None:
                visitor.camera_picture(data)
                continue
            if len(text) > _COMMAND_LENGTH:
                return CLOSE_BAD
            try:
                command = json.loads(text)
            except (ValueError, RecursionError):
                return CLOSE_BAD
            if not isinstance(command, dict):
                return CLOSE_BAD
            if command.get("do") == "shown":
                outbox.shown()
            elif not visitor.command(command):
                return CLOSE_FLOODED

    async def _send(self, socket: Any, outbox: Outbox) -> int | None:
        from starlette.websockets import WebSocketDisconnect

        while not outbox.is_overrun:
            item = await outbox.next()
            try:
                if isinstance(item, bytes):
                    await socket.send_bytes(item)
                else:
                    await socket.send_text(item)
            except (WebSocketDisconnect, OSError, RuntimeError):
                return None  # gone
        return CLOSE_FLOODED

    # Files -------------------------------------------------------------------------------------------------------

    async def _upload(self, request: Any) -> Any:
        """The body is the video; the header X-Visitor says whose. It is checked when the page then asks to play it."""
        from starlette.responses import JSONResponse

        visitor = self.visitors.get(request.headers.get("x-visitor", ""))
        if visitor is None:
            return JSONResponse({"error": "this page is not connected (reload it)"}, 403)
        if visitor.uploading:
            return JSONResponse({"error": "another upload of this page is running"}, 409)
        visitor.uploading = True
        try:
            problem = await self._store(request, visitor)
        finally:
            visitor.uploading = False
            visitor.part_path.unlink(missing_ok=True)
        status, text = problem or (200, "")
        return JSONResponse({"error": text} if problem else {"ok": True}, status)

    async def _store(self, request: Any, visitor: Visitor) -> tuple[int, str] | None:
        from starlette.requests import ClientDisconnect

        most = self.settings.limits.upload_bytes
        too_large = (413, f"a video may have {most / 2**20:.0f} MiB")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            return too_large
        size, body = 0, aiter(request.stream())
        try:
            with visitor.part_path.open("wb") as file:
                while True:
                    try:
                        chunk = await asyncio.wait_for(anext(body), _UPLOAD_IDLE_S)
                    except StopAsyncIteration:
                        break
                    size += len(chunk)
                    if size > most:
                        return too_large
                    file.write(chunk)
            visitor.part_path.replace(visitor.upload_path)
        except (ClientDisconnect, asyncio.TimeoutError):
            return 400, "the upload was cut off"
        except OSError as error:
            logging.getLogger(__name__).warning("%s", one_line(error))
            return 507, f"the server cannot keep the video ({error.strerror or type(error).__name__})"
        return None

    async def _results(self, request: Any) -> Any:
        from starlette.responses import PlainTextResponse, Response

        visitor = self.visitors.get(request.path_params["token"])
        name = request.path_params["name"]
        if visitor is None or name not in ("boxes.csv", "boxes.json", "video.mp4"):
            return PlainTextResponse("There is no such file.\n", 404)
        save = {"content-disposition": f'attachment; filename="ebm_{name}"'}
        try:
            if name == "boxes.csv":
                return Response(await asyncio.to_thread(visitor.csv_text), media_type="text/csv", headers=save)
            if name == "boxes.json":
                return Response(await asyncio.to_thread(visitor.json_text), media_type="application/json", headers=save)
            return Response(await asyncio.to_thread(visitor.video), media_type="video/mp4", headers=save)
        except (EbmError, ValueError, OSError):  # ValueError: the visitor starts over at this moment
            return PlainTextResponse("Nothing has been tracked yet.\n", 404)
