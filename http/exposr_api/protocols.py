"""What the API is given to show and to do. The daemon implements it; a test can hand in something small.

Every method is called from the API's event loop or from one of its worker threads, so all must be thread-safe.
Marked *in memory*: called on the event loop, must not touch a disk, a lock that is held for long, or the network.
Not marked: called in a worker thread, may take a while.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

Json = Mapping[str, Any]
HealthStatus = Literal["ok", "starting", "degraded", "failing"]

STARTED = "started"
STORED = "stored"
RUNNING = "running"
NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a wish: what happens now, or why not.

    `code`: `STARTED` when accepted; `RUNNING` when one runs already (409); `NOT_FOUND` (404); any other
    snake_case word is a reason to refuse (409), such as `no_source`, `too_little_data`, `stopping`.
    `message` says in words what to do; `details` (run_id, counts) are added to the answer.
    """

    accepted: bool
    code: str
    message: str
    details: Json = field(default_factory=dict)


class PartHealth(Protocol):
    """One part of the service and whether it does its work (`utils.health.PartHealth` fits)."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Health:
    """`ok` and `degraded` answer 200, `starting` and `failing` 503."""

    status: HealthStatus
    parts: Sequence[PartHealth] = ()


class PublishedFile(Protocol):
    """One file of a published version; its bytes never change (`trainer.publishing.registry.PublishedFile` fits)."""

    @property
    def path(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def media_type(self) -> str: ...


class ModelStore(Protocol):
    """The published versions."""

    def entries(self) -> Sequence[Json]:
        """The registry, oldest first. In memory (a `stat` to see whether it changed is fine)."""

    def latest(self) -> Json | None:
        """What `push_latest_model` returns, plus sha256, size_bytes, serial. In memory, as above."""

    def published_file(self, model: str, version: str, name: str) -> PublishedFile | None:
        """Only what a published version's entry or card names. The three names may be anything."""

    def pointer(self) -> bytes | None:
        """The signed pointer to the current version as JSON, always with time left. In memory while it is fresh."""

    def public_key(self) -> bytes:
        """PEM of the key that signs the pointer. In memory."""

    def promote(self, model: str, version: str) -> Decision:
        """Make a published version the champion under a new serial."""

    def rollback(self, model: str) -> Decision:
        """Make the previous champion of this family the champion again under a new serial."""


@dataclass(frozen=True, slots=True)
class Report:
    """What Core says of one picture: the verdict it got, and what its reporter claims. Texts come from outside."""

    model: str
    version: str
    verdict: str
    probability: float | None = None
    label: str | None = None
    note: str = ""
    reporter: str = ""


class Feedback(Protocol):
    """Reports about pictures that a version got wrong."""

    def report(self, report: Report, picture: BinaryIO) -> Decision:
        """`STORED` when it was taken. `busy`, `not_a_picture` and `too_many_reports` (with `retry_after_seconds`) have
        statuses of their own; any other code is 409."""

    def reports(self, sha256: str) -> Sequence[Json]:
        """What was said of the picture with these bytes, newest first."""

    def newest(self, limit: int) -> Sequence[Json]:
        """Newest first, each with `state`: waiting, real, ai_generated, skipped or gone."""


class Observations(Protocol):
    """What detectors have seen, as histograms."""

    def take(self, reporter: str, histograms: Sequence[Json]) -> Decision:
        """Each has day, model, version, scores and verdicts. `STORED` with `taken` and `ignored`; else 409."""

    def summary(self) -> Json:
        """`days` with sums by day and version, `validation`, `drift`, `in_service` (model, version, since)."""


class EventStream(Protocol):
    """One listener's events, as (name, data). Ends when closed by either side."""

    def __aiter__(self) -> AsyncIterator[tuple[str, Json]]: ...
    def close(self) -> None: ...


class Service(Protocol):
    """The running daemon, as the API sees it."""

    @property
    def models(self) -> ModelStore: ...

    @property
    def feedback(self) -> Feedback: ...

    @property
    def observations(self) -> Observations: ...

    def status(self) -> Json:
        """The guide's `GET /status` and more. In memory."""

    def metrics(self) -> Json:
        """The guide's four keys. In memory."""

    def prometheus(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics where `accept` wants it, else the text format."""

    def health(self) -> Health: ...

    def start_scrape(self, way: str = "through the API") -> Decision:
        """`way` says, in the run's reason, how it was asked for."""

    def start_training(self, way: str = "through the API") -> Decision:
        """The same for a training."""

    def runs(self, kind: str | None, limit: int) -> Sequence[Json]:
        """Newest first, at most `limit`; `kind` None for both."""

    def run(self, run_id: str) -> Json | None:
        """One run with its progress and outcome."""

    def stop_run(self, run_id: str) -> Decision:
        """End a run for good, a little later. `NOT_FOUND` without such a run, `not_running` once it has ended."""

    def subscribe(self) -> EventStream:
        """A new listener. Raises RetryLaterError when there are too many. In memory; called on the event loop."""
