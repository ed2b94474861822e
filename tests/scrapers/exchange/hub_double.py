"""A stand-in of the Hugging Face hub on loopback: one dataset, its commits, its files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "someone/pictures"


class HubDouble:
    """`files` may change between two commits; `downloads` counts what was fetched."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.license = "cc-by-4.0"
        self.is_gated = False
        self.downloads: Counter[str] = Counter()
        self.url = ""

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files)).encode(), usedforsecurity=False).hexdigest()

    def describe(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": path,
                "size": len(data),
                "blobId": "0" * 40,
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130},
            }
            for path, data in self.files.items()
        ]
        return {"id": NAME, "sha": self.commit, "siblings": siblings, "cardData": {"license": self.license}}

    @contextmanager
    def running(self) -> Iterator[HubDouble]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, *, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                if path.startswith(f"/api/datasets/{NAME}"):
                    self.send(json.dumps(double.describe()).encode(), with_body, {"Content-Type": "application/json"})
                    return
                file = path.partition(f"/datasets/{NAME}/resolve/{double.commit}/")[2]
                if double.is_gated:
                    self.refuse(403, {"X-Error-Code": "GatedRepo"})
                elif file not in double.files:
                    self.refuse(404, {"X-Error-Code": "RepoNotFound" if NAME not in path else "EntryNotFound"})
                else:
                    data = double.files[file]
                    double.downloads[file] += int(with_body)
                    etag = hashlib.sha256(data).hexdigest()
                    self.send(data, with_body, {"ETag": f'"{etag}"', "X-Repo-Commit": double.commit})

            def send(self, data: bytes, with_body: bool, headers: dict[str, str]) -> None:
                self.send_response(200)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(data)

            def refuse(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
