"""The blocking follower: keeps the newest verified model of a trainer in a folder.

with ModelFollower() as follower:             # EXPOSR_TRAINER_URL, EXPOSR_TRAINER_API_KEY
    follower.follow(detector.load)            # until follower.stop() is called from another thread
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import httpx

from exposr_client.errors import FollowerStopped, TrainerUnavailable
from exposr_client.field.observations import Observations
from exposr_client.field.reports import (
    MAX_ANSWER_BYTES,
    REPORTS_PATH,
    Judged,
    Receipt,
    picture_bytes,
    receipt_of,
    report_fields,
)
from exposr_client.following import flows
from exposr_client.following.events import EVENTS_PATH, EventReader, announces_model
from exposr_client.following.settings import (
    DEFAULT_KEEP,
    DEFAULT_POLL_SECONDS,
    EVENTS_SILENCE_SECONDS,
    make_connection,
    make_plan,
)
from exposr_client.following.steps import (
    Do,
    Fetch,
    Flow,
    Get,
    HandOver,
    Pause,
    Post,
    Reply,
    Step,
    disk_errors,
    unavailable,
)
from exposr_client.trust.pointer import ModelInfo

Result = TypeVar("Result")
LISTENER_STOP_SECONDS = 2.0

log = logging.getLogger("exposr_client")


class ModelFollower:
    """Follows one trainer. Methods may be called from several threads; `stop` ends them for good.

    `public_key` pins the trainer's key (PEM, hex, or a file's path); without one the first key seen is pinned in
    `cache_dir`. `poll_seconds` is the longest time between two polls; `events` also listens for the trainer's own
    announcement; `keep` is how many versions stay in the cache. `observations`, of a `Detector`, are handed to the
    trainer with the polls of `follow`: counts by day and version, no pictures.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cache_dir: str | Path | None = None,
        *,
        public_key: str | bytes | Path | None = None,
        poll_seconds: float = DEFAULT_POLL_SECONDS,
        events: bool = True,
        keep: int = DEFAULT_KEEP,
        observations: Observations | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        connection = make_connection(url, api_key)
        self._plan = make_plan(cache_dir, public_key, poll_seconds, keep, observations)
        self._events = events
        self._http = httpx.Client(
            base_url=connection.url, headers=connection.headers, timeout=connection.timeout, transport=transport
        )
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._listening: httpx.Response | None = None

    def check(self) -> ModelInfo | None:
        """The trainer's current version when it is not in the cache yet, else None. Believes only what is signed."""
        return self._run(flows.check(self._plan))

    def download(self, info: ModelInfo | None = None) -> Path:
        """The verified weights of `info`, by default of the newest version; resumes what was cut."""
        return self._run(flows.download(self._plan, info))

    def current(self) -> Path | None:
        """The newest verified weights in the cache, or None. Checks every byte again; never asks the trainer."""
        info = self.current_info()
        return self._plan.cache.weights(info) if info else None

    def current_info(self) -> ModelInfo | None:
        """What was signed about `current()`."""
        return self._run(flows.current(self._plan))

    def report(
        self,
        picture: str | Path | bytes,
        judged: Judged,
        *,
        label: Literal["real", "ai_generated"] | None = None,
        note: str = "",
        reporter: str = "",
    ) -> Receipt:
        """Tell the trainer that `judged` (a `Prediction`) is wrong, or doubted. `label` is what the reporter claims.

        Raises ReportRefusedError when it is not taken, TrainerUnavailable when it may be taken later.
        """
        self._require_running()
        fields = report_fields(judged, label, note, reporter)
        files = {"file": ("picture", picture_bytes(picture), "application/octet-stream")}
        with unavailable():
            answer = self._http.post(REPORTS_PATH, data=fields, files=files)
        return receipt_of(answer.status_code, answer.headers, answer.content[:MAX_ANSWER_BYTES])

    def follow(self, on_new_model: Callable[[Path], Any]) -> None:
        """Call `on_new_model` with verified weights, first with those in the cache, until `stop`.

        What goes wrong is logged and never ends it. A version on which `on_new_model` raises is reported and skipped.
        """
        listener = threading.Thread(target=self._listen, name="exposr-events", daemon=True)
        if self._events:
            listener.start()
        try:
            self._run(flows.follow(self._plan), on_new_model)
        except FollowerStopped:
            return
        finally:
            if self._events:
                self._hang_up()
                listener.join(LISTENER_STOP_SECONDS)

    def stop(self) -> None:
        """End `follow` soon; may be called from any thread, and from a signal handler."""
        self._stopped.set()
        self._wake.set()

    def close(self) -> None:
        self.stop()
        self._hang_up()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- doing the steps ---------------------------------------------------------------------------------------------

    def _run(self, flow: Flow[Result], on_new_model: Callable[[Path], Any] | None = None) -> Result:
        try:
            step = next(flow)
            while True:
                try:
                    result = self._perform(step, on_new_model)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            found: Result = end.value
            return found
        finally:
            flow.close()

    def _perform(self, step: Step, on_new_model: Callable[[Path], Any] | None) -> Any:
        match step:
            case Do(work):
                with disk_errors():
                    return work()
            case Get():
                return self._get(step)
            case Post():
                return self._post(step)
            case Fetch():
                return self._fetch(step)
            case Pause(seconds, until_event):
                return self._pause(seconds, until_event)
            case HandOver(weights):
                return self._hand_over(weights, on_new_model)

    def _get(self, step: Get) -> Reply:
        return self._ask(self._http.build_request("GET", step.path, headers=step.headers), step.limit_bytes)

    def _post(self, step: Post) -> Reply:
        json = {"Content-Type": "application/json"}
        return self._ask(self._http.build_request("POST", step.path, headers=json, content=step.body), step.limit_bytes)

    def _ask(self, request: httpx.Request, limit_bytes: int) -> Reply:
        self._require_running()
        body = bytearray()
        with unavailable(), contextlib.closing(self._http.send(request, stream=True)) as response:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > limit_bytes:
                    raise TrainerUnavailable(f"{request.url.path}: the answer is longer than {limit_bytes} bytes")
            return Reply(response.status_code, response.headers, bytes(body))

    def _fetch(self, step: Fetch) -> None:
        self._require_running()
        with disk_errors(), unavailable(), self._http.stream("GET", step.path, headers=step.headers) as response:
            step.sink.begin(response.status_code, response.headers)
            for chunk in response.iter_raw():
                self._require_running()
                step.sink.write(chunk)

    def _pause(self, seconds: float, until_event: bool) -> None:
        if until_event:
            self._wake.wait(seconds)
            self._wake.clear()
        else:
            self._stopped.wait(seconds)
        self._require_running()

    def _hand_over(self, weights: Path, on_new_model: Callable[[Path], Any] | None) -> Exception | None:
        assert on_new_model is not None
        try:
            on_new_model(weights)
        except Exception as error:  # the caller's code: the flow reports it and goes on
            return error
        return None

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise FollowerStopped("this follower was stopped; make a new one")

    # -- listening ---------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Turn announcements into earlier polls. Whatever fails here costs nothing: polling goes on regardless."""
        timeout = httpx.Timeout(EVENTS_SILENCE_SECONDS)
        while not self._stopped.is_set():
            try:
                with self._http.stream("GET", EVENTS_PATH, timeout=timeout) as response:
                    self._listening = response
                    if response.status_code == 200:
                        self._read_events(response)
            except (httpx.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: the client was closed
                log.debug("no events: %s", error)
            self._listening = None
            self._stopped.wait(self._plan.poll_pause())

    def _read_events(self, response: httpx.Response) -> None:
        reader = EventReader()
        self._wake.set()  # something may have been announced while nobody listened
        for chunk in response.iter_raw():
            if any(map(announces_model, reader.feed(chunk))):
                self._wake.set()

    def _hang_up(self) -> None:
        """End the listener's blocking read: closing a socket does not wake its reader, shutting it down does."""
        response = self._listening
        stream = response.extensions.get("network_stream") if response else None
        connection = stream.get_extra_info("socket") if stream else None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
