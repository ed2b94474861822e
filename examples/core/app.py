"""A reference Exposr-Core: POST /detect says whether a picture is AI-generated, with the trainer's newest model; POST
/report tells the trainer that it was wrong.

    uvicorn --app-dir examples/core app:app --port 8000

It shows the whole integration: follow the trainer in a thread, load what it publishes, answer while models change.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message

from exposr_client import (
    Detector,
    ExposrClientError,
    ImageError,
    ModelFollower,
    NoModelError,
    ReportRefusedError,
)

MAX_UPLOAD_BYTES = 20 * 1024 * 1024
MAX_DISCARDED_BYTES = 5 * MAX_UPLOAD_BYTES  # read away of what is too large: who still sends may not read the answer
UPLOAD_SECONDS = 60.0
UPLOADS_AT_ONCE = 32  # in memory; further requests wait, their bodies unread
INFERENCE_THREADS = int(os.environ.get("CORE_THREADS") or min(4, os.cpu_count() or 1))
STOP_SECONDS = 5.0


async def detect(request: Request) -> Response:
    """multipart/form-data with `file` -> {"ai_probability", "label", "model_version"}"""
    state = request.app.state
    async with state.uploads:
        data = await read_upload(request)
        # in a thread, so that the loop stays free to accept, to refuse and to answer /health
        [found] = await to_thread.run_sync(state.detector.predict, [data], limiter=state.inference)
    return JSONResponse({"ai_probability": found.probability, "label": found.verdict, "model_version": found.version})


async def report(request: Request) -> Response:
    """multipart/form-data with `file`, and what the reporter says: `label`, `note` -> the trainer's receipt

    The picture is judged again here, so that the report names the version that is wrong now.
    """
    state = request.app.state
    async with state.uploads:
        data, fields = await read_form(request)
        label = fields.get("label") or None
        if label not in (None, "real", "ai_generated"):
            raise HTTPException(400, "label is real or ai_generated, or left out")
        [found] = await to_thread.run_sync(state.detector.predict, [data], limiter=state.inference)
        say = partial(state.follower.report, data, found, label=label, note=fields.get("note", ""), reporter="core")
        receipt = await to_thread.run_sync(say)
    return JSONResponse({"status": receipt.status, "reports": receipt.reports, "judged": found.verdict}, 202)


async def health(request: Request) -> Response:
    version = request.app.state.detector.version
    return JSONResponse({"status": "ok" if version else "waiting", "model_version": version}, 200 if version else 503)


async def read_upload(request: Request) -> bytes:
    """The bytes of the field `file`. Raises HTTPException for anything else."""
    return (await read_form(request))[0]


async def read_form(request: Request) -> tuple[bytes, dict[str, str]]:
    """The bytes of the field `file`, and the other fields."""
    body = await read_body(request)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "send multipart/form-data with the picture in the field `file`")

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, replay).form(max_files=1, max_fields=8) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise HTTPException(400, "the field `file` with the picture is missing")
        return await file.read(), {name: value for name, value in form.items() if isinstance(value, str)}


async def read_body(request: Request) -> bytes:
    """The body, read to its end even when it is refused, within limits of size and time."""
    chunks: list[bytes] = []
    received = 0
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= MAX_UPLOAD_BYTES:
                    chunks.append(chunk)
                elif received > MAX_DISCARDED_BYTES:
                    break
    except TimeoutError:
        raise HTTPException(408, f"the upload took longer than {UPLOAD_SECONDS:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the upload was cut off") from None
    if received > MAX_UPLOAD_BYTES:
        raise HTTPException(413, f"the upload is larger than {MAX_UPLOAD_BYTES} bytes")
    return b"".join(chunks)


def refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, "bad_request", error.detail)


async def on_image_error(request: Request, error: Exception) -> Response:
    return refusal(422, "not_an_image", str(error))


async def on_refused_report(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReportRefusedError)
    return refusal(422 if error.code == "not_a_picture" else 409, error.code, str(error))


async def on_no_trainer(request: Request, error: Exception) -> Response:
    return refusal(503, "trainer_away", "the report could not be handed on; try again later")


async def on_no_model(request: Request, error: Exception) -> Response:
    return refusal(503, "no_model", str(error))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Follow the trainer while the service runs. A model that an earlier run has cached is loaded without it."""
    detector = Detector()
    app.state.detector = detector
    app.state.uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
    app.state.inference = CapacityLimiter(INFERENCE_THREADS)
    with ModelFollower(observations=detector.observations) as follower:
        following = threading.Thread(target=follower.follow, args=(detector.load,), name="follow", daemon=True)
        following.start()
        app.state.follower = follower
        yield
        follower.stop()
        await to_thread.run_sync(following.join, STOP_SECONDS)


logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs a line for every poll
app = Starlette(
    routes=[
        Route("/detect", detect, methods=["POST"]),
        Route("/report", report, methods=["POST"]),
        Route("/health", health),
    ],
    exception_handlers={
        HTTPException: on_http_error,
        ImageError: on_image_error,
        NoModelError: on_no_model,
        ReportRefusedError: on_refused_report,
        ExposrClientError: on_no_trainer,
    },
    lifespan=lifespan,
)
