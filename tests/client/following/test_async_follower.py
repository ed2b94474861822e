"""The asyncio follower: the same decisions, without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from small_trainer import API_KEY, SmallTrainer

from exposr_client import AsyncModelFollower, FollowerStopped, RollbackError

V1 = {"weights.pt": b"weights of v1 " * 9000, "model.json": b"{}"}
V2 = {"weights.pt": b"weights of v2 " * 9000, "model.json": b"{}"}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_check_download_current(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncModelFollower(small_trainer.url, API_KEY, tmp_path, events=False) as follower:
            assert await follower.check() is None
            assert await follower.current() is None
            old = small_trainer.publish("v1", V1)
            info = await follower.check()
            weights = await follower.download(info)
            assert weights.read_bytes() == V1["weights.pt"]
            assert await follower.check() is None
            small_trainer.publish("v2", V2)
            assert (await follower.download()).read_bytes() == V2["weights.pt"]
            small_trainer.pointer = old
            with pytest.raises(RollbackError):
                await follower.check()
            current = await follower.current()
            assert current is not None
            assert current.read_bytes() == V2["weights.pt"]

    asyncio.run(run())


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_follow_hands_over_each_version_until_stopped(
    small_trainer: SmallTrainer, tmp_path: Path, kind: str, events: bool
) -> None:
    async def run() -> None:
        seen: list[bytes] = []

        async def take(weights: Path) -> None:
            seen.append(weights.read_bytes())

        def take_blocking(weights: Path) -> None:
            seen.append(weights.read_bytes())

        take_either: Callable[[Path], Awaitable[None] | None] = take if kind == "coroutine" else take_blocking
        # with events a poll is an hour away, so only the announcement can bring the version
        follower = AsyncModelFollower(
            small_trainer.url, API_KEY, tmp_path, events=events, poll_seconds=3600 if events else 0.05
        )
        async with follower:
            following = asyncio.create_task(follower.follow(take_either))
            if events:
                await until(lambda: ("/events", 200) in small_trainer.requests)
            small_trainer.publish("v1", V1)
            await until(lambda: len(seen) == 1)
            small_trainer.publish("v2", V2)
            await until(lambda: len(seen) == 2)
            follower.stop()
            await following
        assert seen == [V1["weights.pt"], V2["weights.pt"]]

    asyncio.run(run())


def test_follow_can_be_cancelled_and_a_stopped_follower_says_so(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncModelFollower(small_trainer.url, API_KEY, tmp_path) as follower:
            following = asyncio.create_task(follower.follow(print))
            await until(lambda: ("/events", 200) in small_trainer.requests)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following
            assert await follower.check() is None
            follower.stop()
            with pytest.raises(FollowerStopped):
                await follower.check()
            await follower.follow(print)  # returns at once

    asyncio.run(run())
