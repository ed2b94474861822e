"""Serving the sandbox: in the foreground for a person, or in a thread for a demo, a test or a benchmark."""

from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from scrapers.sandbox.app import create_sandbox
from scrapers.sandbox.catalogue import Sandbox
from scrapers.sandbox.settings import SandboxSettings
from utils.clock import Clock
from utils.errors import OperatorError
from utils.logs import get_logger

log = get_logger(__name__)

BACKLOG = 256
STOP_SECONDS = 1
JOIN_SECONDS = 10


def run_sandbox(host: str, port: int, pictures: Path, settings: SandboxSettings | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Raises OperatorError when there are no pictures or the port is taken."""
    app = create_sandbox(pictures, settings)
    offered = {name: len(catalogue.pictures) for name, catalogue in app.state.sandbox.catalogues.items()}
    with bind(host, port) as listener:
        log.info("sandbox_ready", url=f"http://{host}:{listener.getsockname()[1]}", **offered)
        uvicorn.Server(_config(app)).run(sockets=[listener])


class SandboxServer:
    """A sandbox in a thread of this process: `with SandboxServer(folder) as server: server.url`."""

    def __init__(
        self,
        pictures: Path,
        settings: SandboxSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        app = create_sandbox(pictures, settings, clock)
        self.sandbox: Sandbox = app.state.sandbox
        self._listener = bind(host, port)
        self._server = uvicorn.Server(_config(app))
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
        self.host = f"{host}:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> SandboxServer:
        # the socket listens already: a request that comes before the loop runs waits in its backlog
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(JOIN_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._listener])


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; IPPROTO_TCP spares 44 ms a request (without it TCP_NODELAY is not set)."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OperatorError(f"port {port} on {host} cannot be used: {error}; choose another with --port") from error
    listener.listen(BACKLOG)
    return listener


def _is_unexpected(record: logging.LogRecord) -> bool:
    """A body that is cut on purpose is no error."""
    return "without completing response" not in record.getMessage()


def _config(app: Starlette) -> uvicorn.Config:
    server_log = logging.getLogger("uvicorn.error")
    server_log.setLevel(logging.WARNING)
    server_log.addFilter(_is_unexpected)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
