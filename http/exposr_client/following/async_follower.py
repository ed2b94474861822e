"""The same follower for asyncio; every decision is in flows.py, so both behave alike.

async with AsyncModelFollower() as follower:
    await follower.follow(on_new_model)       # on_new_model may be a coroutine function
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from exposr_client.errors import FollowerStopped, TrainerUnavailable
from exposr_client.following import flows
from exposr_client.following.events import EVENTS_PATH, EventReader, announces_model
from exposr_client.following.settings import (
    DEFAULT_KEEP,
    DEFAULT_POLL_SECONDS,
    EVENTS_SILENCE_SECONDS,
    make_connection,
    make_plan,
)
from exposr_client.following.steps import Do, Fetch, Flow, Get, HandOver, Pause, Reply, Step, disk_errors, unavailable
from exposr_client.trust.pointer import ModelInfo

Result = TypeVar("Result")
OnNewModel = Callable[[Path], Any] | Callable[[Path], Awaitable[Any]]

log = logging.getLogger("exposr_client")


class AsyncModelFollower:
    """`ModelFollower` for one event loop. Disk work and a blocking `on_new_model` run in threads."""

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        connection = make_connection(url, api_key)
        self._plan = make_plan(cache_dir, public_key, poll_seconds, keep)
        self._events = events
        self._http = httpx.AsyncClient(
            base_url=connection.url, headers=connection.headers, timeout=connection.timeout, transport=transport
        )
        self._stopped = asyncio.Event()
        self._wake = asyncio.Event()

    async def check(self) -> ModelInfo | None:
        """The trainer's current version when it is not in the cache yet, else None. Believes only what is signed."""
        return await self._run(flows.check(self._plan))

    async def download(self, info: ModelInfo | None = None) -> Path:
        """The verified weights of `info`, by default of the newest version; resumes what was cut."""
        return await self._run(flows.download(self._plan, info))

    async def current(self) -> Path | None:
        """The newest verified weights in the cache, or None. Checks every byte again; never asks the trainer."""
        info = await self.current_info()
        return self._plan.cache.weights(info) if info else None

    async def current_info(self) -> ModelInfo | None:
        """What was signed about `current()`."""
        return await self._run(flows.current(self._plan))

    async def follow(self, on_new_model: OnNewModel) -> None:
        """Call `on_new_model` with verified weights, first with those in the cache, until `stop` or cancellation.

        What goes wrong is logged and never ends it. A version on which `on_new_model` raises is reported and skipped.
        """
        following = asyncio.create_task(self._run(flows.follow(self._plan), on_new_model))
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stopped.wait())
        tasks: set[asyncio.Task[Any]] = {following, stopping}
        if self._events:
            tasks.add(asyncio.create_task(self._listen()))
        try:
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not following.cancelled() and (error := following.exception()) and not isinstance(error, FollowerStopped):
            raise error

    def stop(self) -> None:
        """End `follow` soon; to be called on the event loop."""
        self._stopped.set()

    async def close(self) -> None:
        self.stop()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- doing the steps ---------------------------------------------------------------------------------------------

    async def _run(self, flow: Flow[Result], on_new_model: OnNewModel | None = None) -> Result:
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._perform(step, on_new_model)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            found: Result = end.value
            return found
        finally:
            flow.close()

    async def _perform(self, step: Step, on_new_model: OnNewModel | None) -> Any:
        match step:
            case Do(work):
                with disk_errors():
                    return await asyncio.to_thread(work)
            case Get():
                return await self._get(step)
            case Fetch():
                return await self._fetch(step)
            case Pause(seconds, until_event):
                return await self._pause(seconds, until_event)
            case HandOver(weights):
                return await self._hand_over(weights, on_new_model)

    async def _get(self, step: Get) -> Reply:
        self._require_running()
        body = bytearray()
        with unavailable():
            async with self._http.stream("GET", step.path, headers=step.headers) as response:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > step.limit_bytes:
                        raise TrainerUnavailable(f"{step.path}: the answer is longer than {step.limit_bytes} bytes")
                return Reply(response.status_code, response.headers, bytes(body))

    async def _fetch(self, step: Fetch) -> None:
        self._require_running()
        with disk_errors(), unavailable():
            async with self._http.stream("GET", step.path, headers=step.headers) as response:
                step.sink.begin(response.status_code, response.headers)
                async for chunk in response.aiter_raw():
                    step.sink.write(chunk)

    async def _pause(self, seconds: float, until_event: bool) -> None:
        if until_event:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)
            self._wake.clear()
        else:
            await asyncio.sleep(seconds)

    async def _hand_over(self, weights: Path, on_new_model: OnNewModel | None) -> Exception | None:
        assert on_new_model is not None
        try:
            if inspect.iscoroutinefunction(on_new_model):
                await on_new_model(weights)
            else:
                found = await asyncio.to_thread(on_new_model, weights)
                if inspect.isawaitable(found):
                    await found
        except Exception as error:  # the caller's code: the flow reports it and goes on
            return error
        return None

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise FollowerStopped("this follower was stopped; make a new one")

    # -- listening ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Turn announcements into earlier polls. Whatever fails here costs nothing: polling goes on regardless."""
        timeout = httpx.Timeout(EVENTS_SILENCE_SECONDS)
        while True:
            try:
                async with self._http.stream("GET", EVENTS_PATH, timeout=timeout) as response:
                    if response.status_code == 200:
                        await self._read_events(response)
            except httpx.HTTPError as error:
                log.debug("no events: %s", error)
            await asyncio.sleep(self._plan.poll_pause())

    async def _read_events(self, response: httpx.Response) -> None:
        reader = EventReader()
        self._wake.set()  # something may have been announced while nobody listened
        async for chunk in response.aiter_raw():
            if any(map(announces_model, reader.feed(chunk))):
                self._wake.set()
