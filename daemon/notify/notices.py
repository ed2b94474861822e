"""What people are told, and how each service that may listen wants it written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

NoticeKind: TypeAlias = Literal["published", "moved", "rejected", "failed", "source_failing", "disk_full", "drift"]
NotifyFormat: TypeAlias = Literal["json", "ntfy", "slack", "matrix"]

URGENT = ("failed", "disk_full")
HIDDEN = "***"
LEAST_SECRET = 6  # characters; what is shorter would take words out of sentences
MAX_MESSAGE = 2000  # characters
MAX_NTFY_BYTES = 3000  # of title and message; ntfy makes an attachment of more than 4096, or refuses it


@dataclass(frozen=True, slots=True)
class Notice:
    """`time` is ISO 8601 in UTC; `details` are for programs, `title` and `message` for people."""

    kind: NoticeKind
    title: str
    message: str
    time: str
    details: dict[str, Any]

    def without(self, secrets: Iterable[str]) -> Notice:
        """The same with every secret taken out."""
        details = self.details.items()
        words = sorted((secret for secret in secrets if len(secret) >= LEAST_SECRET), key=len, reverse=True)
        return replace(
            self,
            title=_without(self.title, words),
            message=_without(self.message, words)[:MAX_MESSAGE],
            details={name: _without(text, words) if isinstance(text, str) else text for name, text in details},
        )


def message_for(form: NotifyFormat, url: str, notice: Notice) -> tuple[str, dict[str, Any]]:
    """The address to post to, and the JSON body."""
    if form == "slack":  # and Mattermost, Rocket.Chat
        return url, {"text": f"*{_slack(notice.title)}*\n{_slack(notice.message)}"}
    if form == "matrix":  # hookshot's generic webhooks, and other bridges that take `text`
        text = f"{notice.title}: {notice.message}"  # read as Markdown where there is no html
        html = f"<strong>{escape(notice.title)}</strong><br>{escape(notice.message)}"
        return url, {"text": text, "html": html, "username": "Exposr Trainer"}
    if form == "ntfy":  # JSON goes to the server's root; the topic moves into the body
        scheme, host, path, query, _ = urlsplit(url)
        root, _, topic = path.rstrip("/").rpartition("/")
        message = _within(notice.message, MAX_NTFY_BYTES - len(notice.title.encode()))
        body = {"topic": topic, "title": notice.title, "message": message, "tags": [notice.kind]}
        return urlunsplit((scheme, host, f"{root}/", query, "")), body | {"priority": 4 if notice.kind in URGENT else 3}
    return url, {
        "event": notice.kind,
        "title": notice.title,
        "message": notice.message,
        "time": notice.time,
        "details": notice.details,
    }


def _within(text: str, size: int) -> str:
    """The beginning of a text, in `size` bytes of UTF-8."""
    data = text.encode()
    return text if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "…"


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without(text: str, words: Iterable[str]) -> str:
    for word in words:
        text = text.replace(word, HIDDEN)
    return text
