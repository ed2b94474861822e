"""A reverse proxy that serves the service below `/trainer/` and takes that prefix off, as nginx does."""

from __future__ import annotations

import re
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

PREFIX = b"/trainer"


class StrippingProxy:
    """One request a connection; threads, since a browser opens few."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{PREFIX.decode()}"
        self.strays: list[bytes] = []  # paths that were asked for without the prefix

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                chunk = client.recv(65536)
                if not chunk:
                    return
                request += chunk
            method, path, rest = request.split(b" ", 2)
            if not path.startswith(PREFIX + b"/"):
                self.strays.append(path)
                client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            rest = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"\r\nConnection: close", rest, count=1)
            with socket.create_connection(self._target) as server:
                server.sendall(method + b" " + path.removeprefix(PREFIX) + b" " + rest)
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:
        return
