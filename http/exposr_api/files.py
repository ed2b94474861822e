"""`GET /models/{name}/{version}/{file}`: bytes that never change, in whole or in part.

The file is opened once, without following a symbolic link in any of the three last parts of its path, and everything
said about it comes from that descriptor: whatever happens to the folder meanwhile, headers and bytes belong together.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exposr_api.answers.conditional import UnsatisfiableRangeError, matches_any, matches_strongly, requested_range
from exposr_api.answers.errors import ApiError
from exposr_api.answers.responses import SAFE_HEADERS, header_list, not_modified
from exposr_api.protocols import ModelStore, PublishedFile
from exposr_api.transport.zero_copy import ZERO_COPY
from utils.logs import get_logger

log = get_logger(__name__)

CHUNK_BYTES = 256 * 1024
PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
IMMUTABLE = "private, max-age=31536000, immutable"


async def serve_published_file(request: Request, models: ModelStore) -> Response:
    parts = [request.path_params[name] for name in ("name", "version", "file")]
    if not all(PATH_PART.fullmatch(part) for part in parts):
        raise ApiError("not_found", "no such file; GET /models lists the versions, /models/latest their files")
    published = await run_in_threadpool(models.published_file, *parts)
    if published is None:
        raise ApiError("not_found", f"no published file {'/'.join(parts)}; GET /models lists the versions")
    etag = f'"{published.sha256}"'
    headers = {
        **SAFE_HEADERS,
        "content-type": published.media_type,
        "etag": etag,
        "cache-control": IMMUTABLE,
        "accept-ranges": "bytes",
    }
    if not matches_strongly(header_list(request, "if-match"), etag):
        raise ApiError("precondition_failed", f"the file is {etag}; take the version's own ETag")
    if matches_any(header_list(request, "if-none-match"), etag):
        return not_modified({name: headers[name] for name in ("etag", "cache-control")})
    size = published.size_bytes
    try:
        # ranges are defined for GET only
        wanted = request.method == "GET" and requested_range(
            request.headers.get("range"), request.headers.get("if-range"), etag, size
        )
    except UnsatisfiableRangeError:
        raise ApiError(
            "range_not_satisfiable",
            f"the file has {size} bytes; ask for a range inside them",
            {"content-range": f"bytes */{size}", "accept-ranges": "bytes"},
        ) from None
    descriptor = await run_in_threadpool(open_published, published)
    if wanted:
        headers["content-range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
        return FileBytes(descriptor, wanted.start, wanted.length, 206, headers)
    return FileBytes(descriptor, 0, size, 200, headers)


def open_published(published: PublishedFile) -> int:
    """A descriptor of exactly the published file; the caller closes it. Raises ApiError when it is not there."""
    version_folder = published.path.parent
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    folders: list[int] = []
    try:
        folders.append(os.open(version_folder.parent.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in (version_folder.parent.name, version_folder.name):
            folders.append(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folders[-1]))
        descriptor = os.open(published.path.name, flags | os.O_NONBLOCK, dir_fd=folders[-1])
    except OSError as error:
        raise _damaged(published, error.strerror or str(error)) from error
    finally:
        for folder in folders:
            os.close(folder)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != published.size_bytes:
        os.close(descriptor)
        raise _damaged(published, f"{facts.st_size} bytes instead of {published.size_bytes}")
    return descriptor


def _damaged(published: PublishedFile, reason: str) -> ApiError:
    log.error("published_file_damaged", path=str(published.path), reason=reason)
    return ApiError(
        "version_damaged",
        "the file is not what was published; take another version, and have `exposr-trainer models verify` run",
    )


class FileBytes(Response):
    """`length` bytes of an open file from `start` on; closes the descriptor."""

    def __init__(self, descriptor: int, start: int, length: int, status: int, headers: Mapping[str, str]) -> None:
        self.file = io.FileIO(descriptor)
        self.start = start
        self.length = length
        self.status_code = status
        self.background = None
        self.init_headers({**headers, "content-length": str(length)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD" and ZERO_COPY in scope.get("extensions", {}):
                part = {"file": self.file, "offset": self.start, "count": self.length}
                await send({"type": ZERO_COPY, **part, "more_body": True})
            elif scope["method"] != "HEAD":
                await self._send_chunks(send)
            await send({"type": "http.response.body", "body": b""})

    async def _send_chunks(self, send: Send) -> None:
        """To a server that has no zero-copy send."""
        position, end = self.start, self.start + self.length
        while position < end:
            count = min(CHUNK_BYTES, end - position)
            chunk = await run_in_threadpool(os.pread, self.file.fileno(), count, position)
            if not chunk:
                raise OSError(f"a published file lost its last {end - position} bytes while it was sent")
            position += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
