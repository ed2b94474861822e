"""One source's offer, and what all sources share: the sandbox's state, page parameters, made-up people."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request

from scrapers.sandbox.faults import FaultInjector
from scrapers.sandbox.journal import Journal
from scrapers.sandbox.pictures import Picture, collect_pictures
from scrapers.sandbox.quotas import Quotas
from scrapers.sandbox.settings import SandboxSettings, SourceName
from utils.clock import Clock

MAX_RANKINGS = 64
COMPRESSED = (Middleware(GZipMiddleware, minimum_size=500, compresslevel=3),)  # what the APIs do with their JSON
FIRST_NAMES = ("Marta", "Ilse", "Jonas", "Aiko", "Zoë", "Tomás", "Priya", "Noah", "Élodie", "Kwame", "Søren", "Mei")
LAST_NAMES = ("Kowal", "van Dam", "Okafor", "Lindqvist", "Tanaka", "Ferreira", "Novák", "Iyer", "Brandt", "Moreau")


class Catalogue:
    """The pictures of one source, newest first, found by id and by the name of their file.

    `extras` can be found too, but are in no list.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        picture_id: Callable[[Picture], str],
        image_name: Callable[[Picture], str],
        extras: Sequence[Picture] = (),
    ) -> None:
        self.pictures = tuple(pictures)
        self.extras = tuple(extras)
        self.by_id = {picture_id(picture): picture for picture in (*pictures, *extras)}
        self.by_image = {image_name(picture): picture for picture in (*pictures, *extras)}
        self._rankings: dict[str, tuple[Picture, ...]] = {}

    def ranked(self, query: str) -> tuple[Picture, ...]:
        """All pictures in the order of their (made-up) relevance to `query`."""
        wanted = " ".join(query.lower().split())
        if wanted not in self._rankings:
            if len(self._rankings) >= MAX_RANKINGS:
                self._rankings.clear()
            self._rankings[wanted] = tuple(sorted(self.pictures, key=lambda picture: _relevance(wanted, picture)))
        return self._rankings[wanted]


BuildCatalogue = Callable[[Sequence[Picture], SandboxSettings], Catalogue]


class Sandbox:
    """The state behind the routes; `configure` replaces the settings while it runs."""

    def __init__(
        self, folder: Path, settings: SandboxSettings, builders: Mapping[SourceName, BuildCatalogue], clock: Clock
    ) -> None:
        self._folder = folder
        self._builders = builders
        self.clock = clock
        self.journal = Journal(clock)
        self.quotas = Quotas(clock)
        self.injector = FaultInjector()
        self.calls: dict[str, int] = {}
        self._pictures: Mapping[SourceName, Sequence[Picture]] = {}
        self._pictures_of: object = None
        self.configure(settings)

    def configure(self, settings: SandboxSettings) -> None:
        source = (settings.synthetic, settings.photo_sources)
        if source != self._pictures_of:
            self._pictures = collect_pictures(self._folder, settings)
            self._pictures_of = source
        self.catalogues = {name: build(self._pictures[name], settings) for name, build in self._builders.items()}
        self.settings = settings

    def reset(self) -> None:
        """Forget everything but the settings: log, counters, quotas, attempts."""
        self.journal.clear()
        self.quotas.clear()
        self.injector.clear()
        self.calls.clear()

    def count_call(self, what: str) -> int:
        """How often `what` was called, this time included."""
        self.calls[what] = self.calls.get(what, 0) + 1
        return self.calls[what]

    def base(self, request: Request) -> str:
        """This server's URL as payloads name it."""
        if self.settings.public_url:
            return self.settings.public_url.rstrip("/")
        return f"http://{request.headers.get('host', 'localhost')}"

    def key_kind(self, request: Request) -> str:
        """`sandbox`, `wrong` or `anonymous`: what came as a credential, without its text."""
        given = request.headers.get("authorization", "").split(" ")[-1]
        given = given or request.query_params.get("client_id", "") or request.query_params.get("token", "")
        if not given:
            return "anonymous"
        return "sandbox" if given == self.settings.key else "wrong"


def whole_number(request: Request, name: str, default: int) -> int | None:
    """A query parameter as an integer, its default when absent, None when it is no integer."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    try:
        return int(text)
    except ValueError:
        return None


def person(picture: Picture, creators: int) -> tuple[int, str, str]:
    """The made-up creator of a picture: number, first name, last name."""
    number = picture.number("creator", creators)
    return number, FIRST_NAMES[number % len(FIRST_NAMES)], LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]


def handle(first_name: str, number: int, separator: str) -> str:
    """A user name in ASCII, as in the sources' profile addresses."""
    plain = unicodedata.normalize("NFKD", first_name).encode("ascii", "ignore").decode()
    return f"{plain.lower()}{separator}{number}"


def has_orientation(picture: Picture, wanted: str | None) -> bool:
    ratio = picture.width / max(1, picture.height)
    match wanted:
        case "landscape":
            return ratio > 1.05
        case "portrait":
            return ratio < 0.95
        case "square" | "squarish":
            return 0.95 <= ratio <= 1.05
        case _:
            return True


def _relevance(query: str, picture: Picture) -> bytes:
    return hashlib.blake2b(f"{query}:{picture.key}".encode(), digest_size=8).digest()
