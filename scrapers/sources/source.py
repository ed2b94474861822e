"""What a source module knows, and nothing else: its requests, its paging, its quota signals, its payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

from scrapers.candidate import Candidate, Dropped, Page, text_or_none
from scrapers.http.response import Answer
from scrapers.limits.budget import QuotaReading, WindowName
from utils.config.sources import Source
from utils.errors import SkipItemError, StopRunError
from utils.logs import get_logger
from utils.metadata import Label

log = get_logger(__name__)


class ExhaustedError(StopRunError):
    """The source says that a quota is used up; the harvester works out until when."""

    def __init__(self, window: WindowName) -> None:
        super().__init__(f"out of the {window}'s quota")
        self.window = window


class PayloadError(SkipItemError):
    """The envelope of a page is not what the source's documentation says; single odd items are skipped instead."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "payload")


class SourceModule(Protocol):
    """One source. Implementations hold no state; the harvester calls them in this order for each page."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> Label: ...

    @property
    def rules(self) -> int:
        """Grows whenever what `read_page` leaves out changes: what an earlier rule left out is then looked at again."""

    @property
    def tells_time(self) -> bool:
        """Whether its candidates say when they were published."""

    @property
    def newest_first(self) -> bool:
        """Whether new items come at the head of its pages; else it is crawled as a whole, again and again."""

    @property
    def default_hourly(self) -> int | None:
        """Calls in an hour until settings or headers say otherwise; None: no such limit."""

    def headers(self, key: str | None) -> Mapping[str, str]: ...

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        """The request for one page, newest first where the source can; query "" is the general feed."""

    def judge(self, answer: Answer) -> None:
        """Raise what only this source means by an answer (quota, bad query, lost cursor); the rest is common."""

    def quota(self, answer: Answer) -> Sequence[QuotaReading]:
        """What trustworthy headers say about the quota."""

    def first_cursor(self, query: str) -> str | None:
        """The cursor of a query's first page, where a page must be told which one it is."""

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        """Candidates in the source's order. Raises PayloadError when the envelope is wrong."""

    def cursor_after(self, cursor: str | None) -> str | None:
        """The next page's cursor where it follows from this one's: a page that cannot be read can be skipped then."""


class Defaults:
    """What most sources are like; a source says what differs."""

    rules = 1
    tells_time = False
    newest_first = True
    default_hourly: int | None = None

    def quota(self, answer: Answer) -> Sequence[QuotaReading]:
        return ()

    def first_cursor(self, query: str) -> str | None:
        return None

    def cursor_after(self, cursor: str | None) -> str | None:
        return None


ReadItem = Callable[[Any], Candidate | Dropped | None]


def read_items(found: Sequence[Any], read: ReadItem, id_key: str = "id") -> tuple[tuple[Candidate | Dropped, ...], int]:
    """Each item by `read`, and how many have no id. Whatever an item does to `read` costs that item alone."""
    items: list[Candidate | Dropped] = []
    for raw in found:
        try:
            item = read(raw)
        except Exception as error:  # an item may hold anything
            item_id = text_or_none(as_object(raw).get(id_key))
            log.warning("item_unreadable", id=item_id, error=f"{type(error).__name__}: {error}"[:200])
            item = Dropped(item_id, "unreadable") if item_id else None
        if item is not None:
            items.append(item)
    return tuple(items), len(found) - len(items)


def api_url(settings: Source, path: str, parameters: Mapping[str, object]) -> str:
    """`base_url` + `path` with the parameters that are not None, percent-encoded."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{settings.base_url.rstrip('/')}{path}" + (f"?{urlencode(given)}" if given else "")


def as_object(value: Any) -> dict[str, Any]:
    """`value` when it is a JSON object, else an empty one: optional members of payloads."""
    return value if isinstance(value, dict) else {}


def page_number(cursor: str | None) -> int:
    try:
        return max(1, int(cursor or 1))
    except ValueError:
        return 1


def page_after(cursor: str | None) -> str:
    """For sources whose pages are numbered."""
    return str(page_number(cursor) + 1)
