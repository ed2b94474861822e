"""What a follower does, in order, without any I/O of its own: check, download, current, follow.

Both followers run these flows, so there is one place where it is decided what is believed, resumed, retried or refused.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from exposr_client.downloads.answers import error_of, require_success
from exposr_client.downloads.cache import Cache, needed_files
from exposr_client.downloads.parts import Part
from exposr_client.errors import (
    ExposrClientError,
    FollowerStopped,
    IntegrityError,
    NoModelError,
    SignatureError,
    TrainerUnavailable,
    UnexpectedAnswerError,
    VersionGoneError,
)
from exposr_client.field.observations import OBSERVATIONS_PATH, Observations
from exposr_client.field.reports import MAX_ANSWER_BYTES, REFUSALS
from exposr_client.following.steps import Do, Fetch, Flow, Get, HandOver, Pause, Post, Reply, disk_errors
from exposr_client.trust.keys import MAX_KEY_FILE_BYTES, PublicKey, parse_key
from exposr_client.trust.pointer import MAX_POINTER_BYTES, ModelInfo, read_pointer

POINTER_PATH = "/models/pointer"
KEY_PATH = "/models/key"
FAILURES_IN_A_ROW = 5  # attempts of one download that bring (almost) nothing
PROGRESS_BYTES = 16 * 1024  # what an attempt must bring to count as none of them
WRONG_CONTENTS = 3  # complete downloads of one file whose bytes are wrong
TURN_SECONDS = 0.2  # between two looks at whether another process has finished the same download
STALLED_SECONDS = 90.0  # without a byte from it; longer than it waits for the trainer itself
RETRY_SECONDS = 0.5  # first pause after a failure; doubles
MAX_RETRY_SECONDS = 30.0
JITTER = 0.25  # polls come up to this share earlier, never later, so that many followers spread out

log = logging.getLogger("exposr_client")


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one follower was made with."""

    cache: Cache
    pinned: PublicKey | None
    poll_seconds: float
    observations: Observations | None = None
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    random: random.Random = field(default_factory=random.Random)

    def poll_pause(self, failures: int = 0, asked: float | None = None) -> float:
        """Seconds to the next poll: within one interval, jittered; longer only after failures, or when asked to."""
        interval = min(self.poll_seconds * 2.0**failures, max(self.poll_seconds, MAX_RETRY_SECONDS))
        return max(interval * (1 - JITTER * self.random.random()), asked or 0.0)

    def retry_pause(self, failures: int, asked: float | None) -> float:
        pause = min(RETRY_SECONDS * 2.0**failures, MAX_RETRY_SECONDS)
        return max(pause * (0.5 + self.random.random() / 2), asked or 0.0)


def check(plan: Plan) -> Flow[ModelInfo | None]:
    """The trainer's current version, verified, or None when it is installed already or nothing is published."""
    key = yield from _key(plan)
    pointers = plan.cache.pointers(key)
    seen = yield Do(pointers.seen)
    headers = {"If-None-Match": seen.etag} if seen and seen.etag else {}
    reply: Reply = yield Get(POINTER_PATH, MAX_POINTER_BYTES, headers)
    if reply.status == 304 and seen:
        info: ModelInfo = seen.info
        info.require_valid_at(plan.now())
    elif reply.status == 404 and error_of(reply.body):
        return None
    else:
        _require_trainer(reply)
        info = read_pointer(reply.body, key)
        info.require_not_older_than(seen.info if seen else None)
        info.require_valid_at(plan.now())
        yield Do(lambda: pointers.accept(info, reply.headers.get("etag")))
    installed = yield Do(pointers.installed_serial)
    return info if info.serial > installed else None


def download(plan: Plan, info: ModelInfo | None) -> Flow[Path]:
    """Bring `info` (none: what check() finds) into the cache; the path of its verified weights."""
    if info is None:
        info = yield from check(plan)
    if info is None:
        return (yield from _require_current(plan))
    filling = yield from _turn(plan, info)
    try:
        for name in needed_files(info):
            yield from _download_file(plan, info, name)
        key = yield from _key(plan)
        yield Do(lambda: plan.cache.install(info, key))
    finally:
        if filling is not None:
            filling.close()
    log.info("verified model=%s version=%s serial=%d", info.model, info.version, info.serial)
    return plan.cache.weights(info)


def current(plan: Plan, below: int | None = None) -> Flow[ModelInfo | None]:
    """The newest installed version, checked again byte by byte. Never asks the trainer."""
    key = plan.pinned or (yield Do(plan.cache.trusted_key))
    if key is None:
        return None
    info: ModelInfo | None = yield Do(lambda: plan.cache.verified(key, below))
    return info


def follow(plan: Plan) -> Flow[None]:
    """Hand over what the cache has, then each newer version, for ever. No trouble with trainer or cache ends it."""
    handed = yield from _hand_over_cached(plan)
    failures = 0
    complaint = ""
    while True:
        asked = None
        try:
            info = yield from check(plan)
            yield from hand_over_observations(plan)
            if info is not None:
                yield from download(plan, info)
            handed = yield from _hand_over_newest(plan, handed)
            if failures:
                log.info("the trainer is back after %d failed attempts", failures)
            failures, complaint = 0, ""
        except FollowerStopped:
            raise
        except ExposrClientError as error:
            failures += 1
            asked = error.retry_after_seconds if isinstance(error, TrainerUnavailable) else None
            text = f"{type(error).__name__}: {error}"
            log.log(logging.DEBUG if text == complaint else logging.WARNING, "going on with the old model: %s", text)
            complaint = text
        yield Pause(plan.poll_pause(failures, asked), until_event=failures == 0)


def hand_over_observations(plan: Plan) -> Flow[None]:
    """Give the trainer what the detector has counted since. What is not taken now goes with the next poll."""
    batch = plan.observations.pending() if plan.observations is not None else None
    if batch is None or plan.observations is None:
        return
    try:
        reply: Reply = yield Post(OBSERVATIONS_PATH, batch.body, MAX_ANSWER_BYTES)
    except TrainerUnavailable as error:
        log.debug("observations wait: %s", error)
        return
    if reply.status in REFUSALS:  # it will not take them later either
        log.warning(
            "the trainer refused observations with %d: %s", reply.status, (error_of(reply.body) or {}).get("message")
        )
    elif not 200 <= reply.status < 300:
        log.debug("observations wait: the trainer answered %d", reply.status)
        return
    plan.observations.handed_over(batch)


def _hand_over_cached(plan: Plan) -> Flow[int]:
    """At start: the newest installed version that the caller can use. The serial below which nothing is new."""
    below = None
    newest = 0
    while True:
        try:
            info = yield from current(plan, below)
        except ExposrClientError as error:
            log.error("the cache cannot be used: %s", error)
            return newest
        if info is None:
            return newest
        newest = max(newest, info.serial)
        if (yield from _hand_over(plan, info)):
            return newest
        below = info.serial


def _hand_over_newest(plan: Plan, handed: int) -> Flow[int]:
    """Hand over what was installed since, by this process or by another one that shares the cache."""
    key = yield from _key(plan)
    if (yield Do(plan.cache.pointers(key).installed_serial)) <= handed:
        return handed
    info = yield from current(plan)
    if info is None or info.serial <= handed:
        return handed
    yield from _hand_over(plan, info)
    return int(info.serial)  # also when it failed: the same bytes would only fail again


def _hand_over(plan: Plan, info: ModelInfo) -> Flow[bool]:
    error = yield HandOver(plan.cache.weights(info))
    if error is not None:
        log.error(
            "skipping %s/%s (serial %d): %s: %s", info.model, info.version, info.serial, type(error).__name__, error
        )
    return error is None


def _turn(plan: Plan, info: ModelInfo) -> Flow[BinaryIO | None]:
    """Wait while another process downloads the same version into this cache, for as long as that goes on."""
    received, since = -1, plan.monotonic()
    while True:
        filling: BinaryIO | None = yield Do(lambda: plan.cache.begin_filling(info))
        if filling is not None:
            return filling
        now_received = yield Do(lambda: plan.cache.received_bytes(info))
        if now_received != received:
            received, since = now_received, plan.monotonic()
        elif plan.monotonic() - since > STALLED_SECONDS:
            log.warning("another process has stopped downloading %s/%s; doing it here", info.model, info.version)
            return None
        yield Pause(TURN_SECONDS)


def _download_file(plan: Plan, info: ModelInfo, name: str) -> Flow[None]:
    if (yield Do(lambda: plan.cache.has(info, name))):
        return
    part: Part = yield Do(lambda: plan.cache.open_part(info.files[name]))
    failures = wrong = 0
    asked: float | None
    try:
        while True:
            size_before = part.size
            try:
                if not part.is_complete:
                    path = f"/models/{info.model}/{info.version}/{name}"
                    yield Fetch(path, part, part.request_headers())
                yield Do(lambda: plan.cache.place(part, info, name))
                return
            except IntegrityError as error:
                wrong, failures, asked = wrong + 1, 0, None
                with disk_errors():
                    part.restart()
                if wrong == WRONG_CONTENTS:
                    raise
                log.warning("downloading %s again from its first byte: %s", name, error)
            except TrainerUnavailable as error:
                failures = 0 if part.size - size_before >= PROGRESS_BYTES else failures + 1
                if failures == FAILURES_IN_A_ROW:
                    raise
                asked = error.retry_after_seconds
            yield Pause(plan.retry_pause(failures + wrong, asked))
    finally:
        part.close()


def _key(plan: Plan) -> Flow[PublicKey]:
    """The pinned key; without one, the key that was trusted on first use, which may be now."""
    key: PublicKey | None = plan.pinned or (yield Do(plan.cache.trusted_key))
    if key is not None:
        return key
    reply: Reply = yield Get(KEY_PATH, MAX_KEY_FILE_BYTES)
    _require_trainer(reply)
    try:
        offered = parse_key(reply.body)
    except SignatureError as error:
        raise UnexpectedAnswerError(f"{KEY_PATH}: {error}") from error
    trusted: PublicKey = yield Do(lambda: plan.cache.trust(offered))
    return trusted


def _require_current(plan: Plan) -> Flow[Path]:
    info = yield from current(plan)
    if info is None:
        raise NoModelError("the trainer has not published a version yet")
    return plan.cache.weights(info)


def _require_trainer(reply: Reply) -> None:
    try:
        require_success(reply.status, reply.headers, reply.body)
    except VersionGoneError as error:
        raise UnexpectedAnswerError("no Exposr Trainer answers at this URL; check EXPOSR_TRAINER_URL") from error
