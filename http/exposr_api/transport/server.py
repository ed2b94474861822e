"""The API's server: uvicorn in a thread of the daemon, on a socket that was bound before.

    server = ApiServer(create_app(service, keys), "127.0.0.1", 8001)
    server.start()
    ...
    server.stop()

A port that is taken fails in the first line, before the daemon has started anything or said that it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import threading
import time
from typing import Final

import psutil
import uvicorn
from starlette.applications import Starlette

from exposr_api.transport.connection import HEAD_BYTES, ApiConnection
from utils.clock import Clock, SystemClock
from utils.errors import OperatorError, StopRunError
from utils.logs import get_logger

log = get_logger(__name__)

BACKLOG = 256  # with the limit of connections it stays below 1024 descriptors, the usual limit of a process
KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 1.0  # for answers in flight at a stop; what takes longer is a download, and that can be resumed
CANCEL_SECONDS: Final = 3  # after which even an answer whose connection is gone is given up
START_SECONDS = 30.0
# Process-wide. A thread of the daemon that computes (a large reconcile) keeps the interpreter this long when the API
# wants it: beside one, /status took 27 ms in the median at Python's own 5 ms, and 13 ms at 1 ms.
SWITCH_SECONDS = 0.001


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OperatorError that says who has the port, or what is wrong with the address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise OperatorError(f"api.host = {host!r} is not an address of this machine: {error}") from error
    # without IPPROTO_TCP asyncio does not recognise the socket as TCP and leaves Nagle on: 44 ms a request
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # at once: two sockets can be bound to one port as long as neither listens
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OperatorError(_explain(error, host, port)) from error
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken{_holder(port)}; stop that program, "
            f"or set api.port (EXPOSR_API__PORT) to a free port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs a privilege this process does not have; set api.port to 1024 or more"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"api.host = {host!r} is not an address of this machine; 127.0.0.1 and 0.0.0.0 always work"
    return f"cannot listen on {host}:{port}: {error}"


def _holder(port: int) -> str:
    """` by python (pid 12)`, as far as this process may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


class ApiServer:
    """Serves `app` from a thread of its own between `start` and `stop`."""

    def __init__(self, app: Starlette, host: str, port: int, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._socket = bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._app = app
        config = uvicorn.Config(
            app,
            http=ApiConnection,
            ws="none",
            lifespan="on",
            loop="asyncio",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=CANCEL_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        self._server = _Server(config, self._clock)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """Base URL for a caller on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Returns when requests are answered. Raises StopRunError when that does not happen."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise StopRunError(f"the API did not start: {self._failure or 'no answer in time'}")
            time.sleep(0.005)
        log.info("api_started", address=self.address)

    def stop(self, timeout_seconds: float = CANCEL_SECONDS + 2.0) -> bool:
        """Let answers in flight finish, then end. False when the thread did not end in time. Safe to call twice."""
        self._server.should_exit = True
        for stream in list(self._app.state.open_streams):
            stream.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        self._socket.close()
        if self._thread.is_alive():
            log.error("api_stop_timeout", seconds=timeout_seconds)
            return False
        return True

    def is_alive(self) -> bool:
        """False also when the thread ended by itself; `failure` then says why."""
        return self._thread.is_alive() and self._server.started

    @property
    def failure(self) -> str:
        """Why the server ended by itself, in words; empty while all is well."""
        return "" if self._failure is None else f"{type(self._failure).__name__}: {self._failure}"

    def heartbeat(self) -> float:
        """clock.monotonic() of the last turn of the server's loop, ten times a second while it lives."""
        return self._server.beat

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # also SystemExit, which a thread swallows silently
            self._failure = error
            log.exception("api_died", error=str(error))


class _Server(uvicorn.Server):
    """uvicorn with a heartbeat (its own callback goes by wall time and stands still after a clock step), and with an
    end for the connections that outlive the grace time."""

    def __init__(self, config: uvicorn.Config, clock: Clock) -> None:
        super().__init__(config)
        self._clock = clock
        self.beat = clock.monotonic()

    async def on_tick(self, counter: int) -> bool:
        self.beat = self._clock.monotonic()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cut_connections)
        await super().shutdown(sockets)
        self._cut_connections()
        await asyncio.sleep(0)  # the turn in which they close

    def _cut_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
