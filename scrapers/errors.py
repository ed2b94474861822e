"""What can go wrong while collecting, split by what the harvester does next (see also utils/errors.py).

TransientError   the same request may succeed later: retried with back-off, then left for the next run
RefusedError     we do not want this item (a guard, an opt-out, a bad file): asked for again only when what the refusal
                 depends on changes (scrapers/outcomes/reasons.py)
└── TooLargeError    … but a smaller variant of it may do
FailedError      the source cannot give us this item (gone, forbidden): never asked for again
QueryError       this query cannot be continued in this run; other queries can
CursorError      the crawl's cursor is not accepted any more: start the crawl again
ParkedError      the source has to rest until a known time
BlockedError     a person must act before this source is any use

Each has a `code`, a short slug; code decides by it and never by the message.
"""

from __future__ import annotations

from datetime import datetime

from utils.clock import to_iso
from utils.errors import OperatorError, RetryLaterError, SkipItemError, StopRunError


class TransientError(RetryLaterError):
    """`retry_after`: what the server asked for, in seconds.

    `of_host`: the failure speaks of the host (connection, TLS, 5xx, 429, silence before the first byte) and not of the
    one item that was asked for: only such failures close a host.
    """

    def __init__(
        self, code: str, message: str = "", retry_after: float | None = None, *, of_host: bool = False
    ) -> None:
        super().__init__(message or code)
        self.code = code
        self.retry_after = retry_after
        self.of_host = of_host


class RefusedError(SkipItemError):
    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code, code)


class TooLargeError(RefusedError):
    """Beyond our limits of bytes or pixels."""


class FailedError(SkipItemError):
    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code, code)


class QueryError(SkipItemError):
    """`for_good`: the source will never answer this query."""

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message, "query_refused")
        self.for_good = for_good


class CursorError(SkipItemError):
    """The crawl has to begin again without a cursor."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "cursor_refused")


class ParkedError(StopRunError):
    def __init__(self, until: datetime, reason: str, code: str = "quota") -> None:
        super().__init__(f"{reason}; rests until {to_iso(until)}")
        self.until = until
        self.reason = reason
        self.code = code


class BlockedError(OperatorError):
    """Wrong key, refused client, region: the message says which and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
