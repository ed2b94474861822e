"""What can go wrong while collecting, split by what the harvester does next (see also utils/errors.py).

TransientError   the same request may succeed later: retried with back-off, then left for the next run
RefusedError     we do not want this item (a guard, an opt-out, a bad file): never asked for again
└── TooLargeError    … but a smaller variant of it may do
FailedError      the source cannot give us this item (gone, forbidden): never asked for again
QueryError       this query cannot be continued in this run; other queries can
CursorError      the crawl's cursor is not accepted any more: start the crawl again
ParkedError      the source has to rest until a known time
BlockedError     a person must act before this source is any use
"""

from __future__ import annotations

from datetime import datetime

from utils.clock import to_iso
from utils.errors import OperatorError, RetryLaterError, SkipItemError, StopRunError


class TransientError(RetryLaterError):
    """`why` is a short slug that is counted; `retry_after` is what the server asked for, in seconds."""

    def __init__(self, why: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or why)
        self.why = why
        self.retry_after = retry_after


class RefusedError(SkipItemError):
    def __init__(self, why: str, message: str = "") -> None:
        super().__init__(message or why)
        self.why = why


class TooLargeError(RefusedError):
    """Beyond our limits of bytes or pixels."""


class FailedError(SkipItemError):
    def __init__(self, why: str, message: str = "") -> None:
        super().__init__(message or why)
        self.why = why


class QueryError(SkipItemError):
    """`for_good`: the source will never answer this query."""

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


class CursorError(SkipItemError):
    """The crawl has to begin again without a cursor."""


class ParkedError(StopRunError):
    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(f"{reason}; rests until {to_iso(until)}")
        self.until = until
        self.reason = reason


class BlockedError(OperatorError):
    """Wrong key, refused client, region: the message says which and what to do."""
