"""A small real trainer on loopback: signs pointers and serves files by the contract. For tests of the client alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

API_KEY = "key-of-the-tests"
SETTLE_SECONDS = 0.02  # for asyncio to close what was aborted


def sign(key: Ed25519PrivateKey, payload: bytes) -> bytes:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "signature": base64.b64encode(key.sign(payload)).decode(),
            "key_id": hashlib.sha256(raw).hexdigest(),
        }
    ).encode()


def error(status: int, code: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": code}}, status)


class SmallTrainer:
    """`publish` makes versions; `pointer` may be replaced by any bytes. Counts what it is asked for."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        self.serial = 0
        self.pointer: bytes | None = None
        self.requests: list[tuple[str, int]] = []
        self.ranges: list[str] = []
        self.file_seconds = 0.0  # before a file is sent
        self.wrong_content_range = ""  # what resumed downloads are told
        self.reports: list[dict[str, Any]] = []
        self.report_answer: tuple[int, dict[str, Any]] = (
            201,
            {"status": "report stored", "sample": "s1", "reports": 1},
        )
        self.observed: list[dict[str, Any]] = []
        self.observations_status = 200
        self._published = asyncio.Event()
        self._port = port

    # -- what a trainer does -----------------------------------------------------------------------------------------

    def publish(self, version: str, files: dict[str, bytes], model: str = "vit", /, **changes: Any) -> bytes:
        folder = self.folder / model / version
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return self.point(version, files, model, **changes)

    def point(self, version: str, files: dict[str, bytes], model: str = "vit", /, **changes: Any) -> bytes:
        """Sign a new pointer, with a higher serial unless `changes` say otherwise."""
        self.serial += 1
        now = datetime.now(UTC)
        payload = {
            "model": model,
            "version": version,
            "serial": self.serial,
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
                for name, data in files.items()
            },
            "issued": now.isoformat(),
            "expires": (now + timedelta(hours=72)).isoformat(),
        } | changes
        self.pointer = sign(self.key, json.dumps(payload).encode())
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._published.set)
        return self.pointer

    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    # -- its HTTP side -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(512)
        self._port = listener.getsockname()[1]
        routes = [
            Route("/models/pointer", self._pointer),
            Route("/models/key", self._key),
            Route("/models/{model}/{version}/{name}", self._file),
            Route("/events", self._events),
            Route("/feedback", self._feedback, methods=["POST"]),
            Route("/observations", self._observations, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", timeout_graceful_shutdown=0)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        return self

    def _serve(self, listener: socket.socket) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[listener])
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()  # as a killed process does
            await asyncio.sleep(SETTLE_SECONDS)

        asyncio.run(serve())
        listener.close()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)

    def _note(self, request: Request, status: int) -> None:
        self.requests.append((request.url.path, status))

    def _refuses(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {API_KEY}":
            return None
        self._note(request, 401)
        return error(401, "unauthorized")

    async def _pointer(self, request: Request) -> Response:
        if refused := self._refuses(request):
            return refused
        if self.pointer is None:
            return error(404, "nothing_published")
        etag = f'"{hashlib.sha256(self.pointer).hexdigest()}"'
        status = 304 if request.headers.get("if-none-match") == etag else 200
        self._note(request, status)
        return Response(b"" if status == 304 else self.pointer, status, {"ETag": etag}, "application/json")

    async def _key(self, request: Request) -> Response:
        return self._refuses(request) or Response(self.public_pem(), media_type="application/x-pem-file")

    async def _file(self, request: Request) -> Response:
        if refused := self._refuses(request):
            return refused
        path = self.folder.joinpath(*(request.path_params[key] for key in ("model", "version", "name")))
        self.ranges.append(request.headers.get("range", ""))
        await asyncio.sleep(self.file_seconds)
        if not path.is_file():
            return error(404, "not_found")
        if self.wrong_content_range and self.ranges[-1]:
            return Response(b"0123456789", 206, {"Content-Range": self.wrong_content_range})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._note(request, 200)
        return FileResponse(path, headers={"ETag": f'"{digest}"'})

    async def _feedback(self, request: Request) -> Response:
        if refused := self._refuses(request):
            return refused
        async with request.form() as form:
            file = form["file"]
            data = b"" if isinstance(file, str) else await file.read()
            self.reports.append({**{name: form[name] for name in form if name != "file"}, "file": data})
        status, body = self.report_answer
        return JSONResponse(body, status)

    async def _observations(self, request: Request) -> Response:
        if refused := self._refuses(request):
            return refused
        self.observed.append(await request.json())
        if self.observations_status != 200:
            return error(self.observations_status, "refused")
        return JSONResponse({"status": "observations stored", "taken": 1, "ignored": 0})

    async def _events(self, request: Request) -> Response:
        if refused := self._refuses(request):
            return refused

        async def events() -> AsyncIterator[bytes]:
            yield b": hello\n\n"
            while True:
                await self._published.wait()
                self._published.clear()
                yield b'event: model\ndata: {"version": "new"}\n\n'

        self._note(request, 200)
        return StreamingResponse(events(), media_type="text/event-stream")
