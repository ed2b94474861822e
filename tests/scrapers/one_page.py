"""A source of one or more pages in Pexels' form, over raw sockets, with exactly the items and files a test names."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lifted import lifted_config
from raw_server import RawServer, answer, raw_server

from encoded_pictures import noise_picture
from utils.config_loader import Config

JSON = "application/json"


def picture(number: int) -> bytes:
    """A small JPEG, different for each number."""
    stream = io.BytesIO()
    noise_picture(number, (96, 64)).save(stream, "jpeg")
    return stream.getvalue() + number.to_bytes(4)


@dataclass
class OnePage:
    """`pages` are lists of photos, or bytes to send as they are; `files` answers for image paths, else a picture."""

    url: str = ""
    pages: list[Any] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    respond_pages: bool = False  # pages that are bytes are whole answers, head and all

    def respond(self, head: str) -> bytes:
        target = head.split(" ", 2)[1]
        self.asked.append(target)
        parts = urlsplit(target)
        if parts.path.startswith("/pexels/"):
            return self._page(int(parse_qs(parts.query)["page"][0]))
        if parts.path in self.files:
            return self.files[parts.path]
        body = picture(int("".join(filter(str.isdigit, parts.path)) or 0))
        return answer(body, Content_Type="image/jpeg", Content_Length=str(len(body)))

    def _page(self, number: int) -> bytes:
        found = self.pages[number - 1] if number <= len(self.pages) else []
        more = {"next_page": "yes"} if number < len(self.pages) else {}
        if self.respond_pages and isinstance(found, bytes):
            return found
        body = found if isinstance(found, bytes) else json.dumps({"photos": found, **more}).encode()
        return answer(body, Content_Type=JSON, Content_Length=str(len(body)))

    def downloads(self) -> list[str]:
        return [target for target in self.asked if not target.startswith("/pexels/")]


def photo(number: int, original: Any) -> dict[str, Any]:
    return {"id": number, "photographer": f"Person {number}", "photographer_id": number, "src": {"original": original}}


@contextmanager
def one_page_source() -> Iterator[tuple[OnePage, RawServer]]:
    source = OnePage()
    with raw_server(source.respond) as server:
        source.url = server.url
        yield source, server


def config_for(folder: Path, source: OnePage, **changes: Any) -> Config:
    harvest = {"max_attempts": 5, **changes.pop("harvest", {})}
    return lifted_config(folder, source.url, only=("pexels",), harvest=harvest, every=changes)


Offer = Callable[..., None]
