"""What a flow (flows.py) asks the world to do. The followers do it, one blocking, one with asyncio.

A flow is a generator: it yields a step and is sent that step's result, or has its error thrown in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from exposr_client.errors import CacheError, TrainerUnavailable

Result = TypeVar("Result")


class Sink(Protocol):
    """Takes the body of an answer as it comes."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None: ...
    def write(self, chunk: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Get:
    """Answered with a Reply. Raises TrainerUnavailable when none comes, or one longer than `limit_bytes`."""

    path: str
    limit_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Post:
    """The same for a JSON body that is sent."""

    path: str
    body: bytes
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """The answer's body goes into `sink`. Raises TrainerUnavailable when it is cut, and what the sink raises."""

    path: str
    sink: Sink
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Do:
    """Work that blocks on the disk; answered with what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; with `until_event`, not longer than until the trainer says that there is something new."""

    seconds: float
    until_event: bool = False


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give the weights to the follower's caller; answered with the exception that it raised, or None."""

    weights: Path


Step = Get | Post | Fetch | Do | Pause | HandOver
Flow = Generator[Step, Any, Result]


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Name the file when the cache folder cannot be used."""
    try:
        yield
    except OSError as error:
        raise CacheError(f"{error.filename or 'the cache folder'}: {error.strerror or error}") from error


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """What the network can do to a request, as one error. `InvalidURL` and the like stay what they are: our bugs."""
    try:
        yield
    except httpx.TransportError as error:
        raise TrainerUnavailable(f"no answer from the trainer: {type(error).__name__}: {error}") from error
