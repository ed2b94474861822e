"""The same follower for asyncio: the blocking one in threads, so that both decide and behave alike.

async with AsyncModelFollower() as follower:
    await follower.follow(on_new_model)       # on_new_model may be a coroutine function
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

import httpx

from exposr_client.field.observations import Observations
from exposr_client.field.reports import Judged, Receipt
from exposr_client.following.follower import ModelFollower
from exposr_client.trust.pointer import ModelInfo

OnNewModel = Callable[[Path], Any] | Callable[[Path], Awaitable[Any]]


class FollowerSettings(TypedDict, total=False):
    """The keyword arguments of `ModelFollower`."""

    public_key: str | bytes | Path | None
    poll_seconds: float
    events: bool
    keep: int
    observations: Observations | None
    transport: httpx.BaseTransport | None


class AsyncModelFollower:
    """`ModelFollower` for one event loop. Requests, disk work and a blocking `on_new_model` run in threads."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        cache_dir: str | Path | None = None,
        **settings: Unpack[FollowerSettings],
    ) -> None:
        self._make = functools.partial(ModelFollower, url, api_key, cache_dir, **settings)
        self._follower = self._make()
        self._following: set[ModelFollower] = set()
        self._stopped = False

    async def check(self) -> ModelInfo | None:
        """The trainer's current version when it is not in the cache yet, else None. Believes only what is signed."""
        return await asyncio.to_thread(self._follower.check)

    async def download(self, info: ModelInfo | None = None) -> Path:
        """The verified weights of `info`, by default of the newest version; resumes what was cut.

        Cancelling stops the waiting, not the download: its thread ends with the file, or with the next error.
        """
        return await asyncio.to_thread(self._follower.download, info)

    async def current(self) -> Path | None:
        """The newest verified weights in the cache, or None. Checks every byte again; never asks the trainer."""
        return await asyncio.to_thread(self._follower.current)

    async def current_info(self) -> ModelInfo | None:
        """What was signed about `current()`."""
        return await asyncio.to_thread(self._follower.current_info)

    async def report(
        self,
        picture: str | Path | bytes,
        judged: Judged,
        *,
        label: Literal["real", "ai_generated"] | None = None,
        note: str = "",
        reporter: str = "",
    ) -> Receipt:
        """Tell the trainer that `judged` (a `Prediction`) is wrong, or doubted; see `ModelFollower.report`."""
        report = functools.partial(self._follower.report, label=label, note=note, reporter=reporter)
        return await asyncio.to_thread(report, picture, judged)

    async def follow(self, on_new_model: OnNewModel) -> None:
        """Call `on_new_model` with verified weights, first with those in the cache, until `stop` or cancellation.

        What goes wrong is logged and never ends it. A version on which `on_new_model` raises is reported and skipped.
        """
        if self._stopped:
            return
        loop = asyncio.get_running_loop()

        def hand_over(weights: Path) -> None:
            found = on_new_model(weights)
            if inspect.isawaitable(found):
                asyncio.run_coroutine_threadsafe(_awaited(found), loop).result()

        follower = self._make()  # one of its own: cancelling this call must not stop the others
        self._following.add(follower)
        try:
            await asyncio.to_thread(follower.follow, hand_over)
        finally:
            self._following.discard(follower)
            follower.close()

    def stop(self) -> None:
        """End `follow` soon, and for good."""
        self._stopped = True
        for follower in (self._follower, *self._following):
            follower.stop()

    async def close(self) -> None:
        self.stop()
        self._follower.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _awaited(work: Awaitable[Any]) -> None:
    await work
