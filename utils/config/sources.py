"""Sections of the configuration: the sources, and what the harvester may do."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from utils.config.sections import Section

LEAST_HEAD_INTERVAL_SECONDS = 300.0
LEAST_INTERVAL_SECONDS = 0.5  # between API calls to a real host, whatever its quota would allow
MOST_IMAGE_CONNECTIONS = 4  # to a real image host
LEAST_IMAGE_INTERVAL_SECONDS = 0.05
DATASET_COLUMNS = (
    *("label", "generator", "source", "creator", "license", "license_url", "url"),
    *("image", "path"),
)
PHOTO_QUERIES = ("street", "nature", "people", "interior", "animals", "food")


def is_loopback_url(url: str) -> bool:
    """Whether `url` is plain http to this machine: the only place for which guards and manners may be lifted."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


class Source(Section):
    """Settings that every source has; defaults in the subclasses are the source's own documented limits.

    Limits may be lifted (0) only where `base_url` is plain http on loopback: the sandbox, the demo, tests.
    `domains` are the source's own: every host below them may hand over its images, and a redirect between two passes.
    """

    domains: ClassVar[tuple[str, ...]] = ()

    enabled: bool = Field(False, description="Collect from this source (its terms: docs/sources.md).")
    queries: tuple[str, ...] = Field((), description="What to search for; empty: the source's general feed.")
    limit_per_query: int = Field(100, ge=1, le=1_000_000, description="New images for one query in one run, at most.")
    base_url: str = Field("", description="Where the API is; another value is for tests and the demo's sandbox.")
    image_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that images may come from besides the source's own: names, `*.name` for all below it, or"
        " host:port on loopback.",
    )
    contact: str = Field("", description="Mail or URL of the operator, sent in the User-Agent; needed to start.")
    min_interval_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds between two API calls, at least; none: the hourly quota spread evenly, and 0 on loopback.",
    )
    requests_per_hour: int | None = Field(
        None, ge=0, description="API calls in an hour, at most; none: as the API says; 0: no limit (loopback only)."
    )
    requests_per_day: int | None = Field(None, ge=0, description="The same for a day.")
    head_interval_seconds: float | None = Field(
        None,
        ge=0,
        description="Seconds between two looks at a query's newest results, at least; none: 300, and 0 on loopback.",
    )
    image_connections: int = Field(2, ge=1, le=256, description="Downloads at a time; real hosts get 4 at most.")
    image_interval_seconds: float = Field(0.1, ge=0, le=3600, description="Seconds between two downloads, at least.")
    max_image_mb: float = Field(
        40.0, gt=0, description="Larger files are not fetched; a smaller variant is, where there is one (MB)."
    )
    max_per_creator: int = Field(100, ge=0, description="Images kept of one photographer or user; 0: no limit.")
    max_per_day: int = Field(0, ge=0, description="Images kept in a day (UTC); 0: no limit.")
    max_gb: float = Field(
        0.0, ge=0, description="Collecting from this source stops at this size of its images (GB); 0: no limit."
    )

    def head_interval(self) -> float:
        """Seconds between two looks at the newest results of one query: answers are cached that long."""
        if self.head_interval_seconds is not None:
            return self.head_interval_seconds
        return 0.0 if self.on_loopback else LEAST_HEAD_INTERVAL_SECONDS

    @property
    def on_loopback(self) -> bool:
        return is_loopback_url(self.base_url)

    @model_validator(mode="after")
    def _mind_manners(self) -> Self:
        if self.on_loopback:
            return self
        if self.base_url and urlsplit(self.base_url).scheme != "https":
            raise ValueError(f"base_url {self.base_url!r} must be https, or http on 127.0.0.1 for a sandbox")
        if any(":" in host or "/" in host or "*" in host.removeprefix("*.") for host in self.image_hosts):
            raise ValueError(
                "image_hosts are plain host names, or *.name for all below it; host:port is for a base_url on loopback"
            )
        if wide := [host for host in self.image_hosts if host.startswith("*.") and "." not in host[2:]]:
            raise ValueError(f"image_hosts {wide[0]!r} would allow a whole top-level domain")
        if self.min_interval_seconds is not None and self.min_interval_seconds < LEAST_INTERVAL_SECONDS:
            raise ValueError(
                f"min_interval_seconds must be {LEAST_INTERVAL_SECONDS} or more unless base_url is on loopback"
            )
        if 0 in (self.requests_per_hour, self.requests_per_day):
            raise ValueError(
                "requests_per_hour and requests_per_day cannot be lifted (0) unless base_url is on loopback"
            )
        if self.head_interval_seconds is not None and self.head_interval_seconds < LEAST_HEAD_INTERVAL_SECONDS:
            raise ValueError(
                f"head_interval_seconds must be {LEAST_HEAD_INTERVAL_SECONDS:g} or more unless base_url is on loopback"
            )
        if self.image_connections > MOST_IMAGE_CONNECTIONS:
            raise ValueError(
                f"image_connections must be {MOST_IMAGE_CONNECTIONS} or fewer unless base_url is on loopback"
            )
        if self.image_interval_seconds < LEAST_IMAGE_INTERVAL_SECONDS:
            raise ValueError(
                f"image_interval_seconds must be {LEAST_IMAGE_INTERVAL_SECONDS} or more unless base_url is on loopback"
            )
        return self


class Unsplash(Source):
    queries: tuple[str, ...] = PHOTO_QUERIES
    domains: ClassVar[tuple[str, ...]] = ("unsplash.com",)
    base_url: str = "https://api.unsplash.com"


class Pexels(Source):
    queries: tuple[str, ...] = PHOTO_QUERIES
    domains: ClassVar[tuple[str, ...]] = ("pexels.com",)
    base_url: str = "https://api.pexels.com"
    requests_per_hour: int | None = Field(
        200, ge=0, description="API calls in an hour, at most; 0: no limit (loopback only)."
    )


class Civitai(Source):
    queries: tuple[str, ...] = Field(
        (), description="Base models (`Flux.1 D`, `SDXL 1.0`, …); empty: the general feed."
    )
    domains: ClassVar[tuple[str, ...]] = ("civitai.com", "civitai.red")
    base_url: str = "https://civitai.com"
    min_interval_seconds: float | None = Field(
        1.0, ge=0, le=86_400, description="Seconds between two API calls, at least."
    )


class Openverse(Source):
    queries: tuple[str, ...] = PHOTO_QUERIES
    base_url: str = "https://api.openverse.org"
    image_hosts: tuple[str, ...] = Field(
        ("*.staticflickr.com",),
        description="Hosts that images may come from; Openverse lists pictures of many, the others are left out.",
    )
    min_interval_seconds: float | None = Field(
        4.0, ge=0, le=86_400, description="Seconds between two API calls, at least."
    )
    requests_per_day: int | None = Field(
        200, ge=0, description="API calls in a day, at most; 0: no limit (loopback only)."
    )


class Wikimedia(Source):
    domains: ClassVar[tuple[str, ...]] = ("wikimedia.org",)
    queries: tuple[str, ...] = Field(
        ("Quality images", "Featured pictures on Wikimedia Commons"),
        description="Categories of photographs (empty: quality images); `Taken with Canon EOS R5` and the like choose"
        " by camera.",
    )
    base_url: str = "https://commons.wikimedia.org"
    min_interval_seconds: float | None = Field(
        1.0, ge=0, le=86_400, description="Seconds between two API calls, at least."
    )
    image_connections: int = Field(1, ge=1, le=256, description="Downloads at a time; Commons asks for one.")
    image_interval_seconds: float = Field(1.0, ge=0, le=3600, description="Seconds between two downloads, at least.")


class WikimediaAi(Wikimedia):
    queries: tuple[str, ...] = Field(
        ("AI-generated images by software", "AI-generated images"),
        description="Categories of generated pictures, with all below them (empty: those by software).",
    )


class DatasetSource(Section):
    """Settings of a source that is no API but a dataset that grows: what `exposr-trainer import` takes, on schedule."""

    enabled: bool = Field(False, description="Take in what is new at each collection.")
    limit_per_run: int = Field(1_000, ge=1, le=10_000_000, description="New images in one run, at most.")
    label: str = Field("", description="Label of all pictures (real, ai_generated, none); empty: columns and folders.")
    map: tuple[str, ...] = Field(
        (), description="What labels and folders mean: `VALUE=LABEL` or `VALUE=LABEL/NAME` (NAME: its generator)."
    )
    rename: tuple[str, ...] = Field((), description="Other names for generators and sources: `OLD=NEW`.")
    generator: str = Field("", description="What made all generated pictures.")
    source: str = Field("", description="Where all pictures are from; empty: columns, folders, the dataset's name.")
    license: str = Field("", description="Licence of pictures that name none.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Columns by what they hold (label, generator, source, creator, license, license_url, url, image,"
        " path); those that are not named are found by their usual names.",
    )
    only: str = Field("", description="Only files that fit this pattern, such as `data/train-*`.")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        wrong = sorted(columns.keys() - set(DATASET_COLUMNS))
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: what a column can hold is {', '.join(DATASET_COLUMNS)}")
        return columns

    @property
    def places(self) -> tuple[str, ...]:
        """What is taken in, as `exposr-trainer import` names it."""
        raise NotImplementedError


class Hf(DatasetSource):
    datasets: tuple[str, ...] = Field(
        (), description="`OWNER/NAME` or `OWNER/NAME@REVISION`; without a revision what is new on main comes in."
    )
    base_url: str = Field("https://huggingface.co", description="Where the hub is; another value is for tests.")

    @field_validator("base_url")
    @classmethod
    def _is_https(cls, url: str) -> str:
        if urlsplit(url).scheme != "https" and not is_loopback_url(url):
            raise ValueError(f"{url!r} must be https, or http on 127.0.0.1 for tests")
        return url

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(f"hf:{name}" for name in self.datasets)


class Folder(DatasetSource):
    paths: tuple[Path, ...] = Field(
        (), description="Folders (mounted, rsynced), tables, tar or parquet files. They are only read."
    )

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(str(path.expanduser().absolute()) for path in self.paths)


class Sources(Section):
    unsplash: Unsplash = Field(default_factory=Unsplash, description="Photographs: label real. Needs a key.")
    pexels: Pexels = Field(default_factory=Pexels, description="Photographs: label real. Needs a key.")
    civitai: Civitai = Field(
        default_factory=Civitai, description="Generated pictures: label ai_generated. Needs a key."
    )
    openverse: Openverse = Field(
        default_factory=Openverse, description="Openly licensed photographs: label real. Needs no key."
    )
    wikimedia: Wikimedia = Field(
        default_factory=Wikimedia, description="Photographs of Wikimedia Commons: label real. Needs no key."
    )
    wikimedia_ai: WikimediaAi = Field(
        default_factory=WikimediaAi,
        description="Generated pictures of Wikimedia Commons: label ai_generated. Needs no key.",
    )
    hf: Hf = Field(default_factory=Hf, description="Datasets of the Hugging Face hub. HF_TOKEN for gated ones.")
    folder: Folder = Field(default_factory=Folder, description="Folders and dataset files of this machine.")


class Harvest(Section):
    """What holds for every source."""

    max_run_minutes: float = Field(
        240.0, gt=0, description="A run ends after this time; the next one goes on from there."
    )
    max_label_ratio: float = Field(
        4.0,
        ge=0,
        description="A label waits while it has more than this times the other's images (plus 500); 0: never.",
    )
    max_generator_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="No generator holds more than this share of the generated images (beyond the first 500), once there"
        " are several; 0: no limit.",
    )
    download_seconds: float = Field(120.0, gt=0, le=3600, description="Longest download or API call, in all (seconds).")
    connect_seconds: float = Field(10.0, gt=0, le=300, description="Longest connecting (seconds).")
    read_seconds: float = Field(20.0, gt=0, le=300, description="Longest silence of a server (seconds).")
    min_bytes_per_second: float = Field(5_000.0, ge=0, description="Slower downloads are given up after 30 s.")
    max_attempts: int = Field(5, ge=1, le=20, description="Attempts at one request.")
    check_workers: int = Field(2, ge=1, le=64, description="Processes that decode what was downloaded.")
