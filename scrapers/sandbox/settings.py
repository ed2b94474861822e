"""What the sandbox does: sizes, quotas, the quirks of each source, and injected faults.

The defaults are a well-behaved source with quotas that a demo never reaches. Every value can be changed while the
sandbox runs (`POST /control`). docs/sandbox.md names the quirk that each switch reproduces.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SourceName = Literal["unsplash", "pexels", "openverse", "civitai", "wikimedia"]
PhotoSource = Literal["unsplash", "pexels", "openverse"]
FaultKind = Literal[
    "status",
    "challenge",
    "hang",
    "slow_drip",
    "cut_body",
    "length_too_large",
    "length_too_small",
    "length_missing",
    "gzip_bomb",
    "image_bomb",
    "oversized",
    "truncated_image",
    "redirect",
    "redirect_loop",
    "html",
    "video",
    "text_plain",
    "noai",
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Unsplash(_Settings):
    hourly_limit: int = Field(
        default=5000, ge=0, description="JSON requests of one key in a window; 50 is a demo application."
    )
    window_seconds: float = Field(default=3600, gt=0, description="Length of the quota window; shorter in tests.")
    exhausted_status: Literal[403, 429] = Field(
        default=403, description="Status of the plain text `Rate Limit Exceeded`."
    )
    stale_headers: bool = Field(
        default=False, description="Every second answer is a cache hit with another call's counters."
    )
    horizon_items: int = Field(
        default=6000, ge=0, description="Search results that paging can reach; then empty pages."
    )
    inexact_totals: bool = Field(default=False, description="X-Total is one more than the body's total.")
    sponsored_first: bool = Field(default=False, description="The same sponsored photo heads every page of a search.")
    odd_items: bool = Field(
        default=False, description="Ids that start with `-`; null names, captions and colours; place 0/0."
    )
    foreign_items: bool = Field(
        default=False, description="Adds a plus.unsplash.com photo, an illustration and a 3D render."
    )
    flagged_queries: tuple[str, ...] = Field(default=("spam",), description="Queries that are answered with 410.")


class Pexels(_Settings):
    hourly_limit: int = Field(default=200, ge=0, description="Requests of one key in a window; has no header.")
    window_seconds: float = Field(default=3600, gt=0, description="Length of the hourly window; shorter in tests.")
    monthly_limit: int = Field(default=20_000, ge=0, description="Requests of one key in a month: the three headers.")
    monthly_used: int = Field(default=0, ge=0, description="Requests that the month has already seen.")
    refuse_library_agents: bool = Field(
        default=True, description="403 HTML for a missing or a bare library User-Agent."
    )
    claimed_total: int | None = Field(default=None, description="total_results of a search, whatever is really there.")
    odd_items: bool = Field(
        default=False, description="Null and empty alt, null colour, emoji names, photographer_id as text."
    )
    wrong_extensions: bool = Field(default=False, description="Original URLs end in the other of .png and .jpeg.")
    shifting_feed: int = Field(
        default=0, ge=0, description="Newest photos held back; each curated call reveals one more."
    )
    huge_original_bytes: int = Field(default=0, ge=0, description="Adds one photo whose original is this large.")


class Civitai(_Settings):
    generation: Literal["old", "new"] = Field(
        default="new", description="Cursors: offset (`100|<ms>`) or `feed:<ms>:<id>`."
    )
    short_pages: bool = Field(default=False, description="Pages hold half of what was asked for, with a next cursor.")
    empty_pages: bool = Field(default=False, description="Before each page comes an empty one with a next cursor.")
    cursor_cycle_pages: int | None = Field(
        default=None, ge=1, description="After so many pages the first cursor comes again."
    )
    expire_cursor_at_page: int | None = Field(
        default=None, ge=2, description="The cursor that leads to this page is refused with 400 the first time."
    )
    shifting_feed: int = Field(default=0, ge=0, description="Newest pictures held back; each call reveals one more.")
    odd_items: bool = Field(
        default=False, description="Null hash and username, no baseModel, rating 0, seed above 2^53."
    )
    foreign_items: bool = Field(
        default=False,
        description="Adds video, audio, a GIF, an MP4 called image, a mature one, and pictures without evidence.",
    )
    wrapped_meta: bool = Field(default=False, description="meta comes as {id, meta} unless flatMeta is asked for.")
    odd_content_types: bool = Field(
        default=True, description="Originals come as text/plain, octet-stream or image/jpeg."
    )
    anonymous_cache_seconds: float = Field(
        default=0, ge=0, description="Identical answers for callers without a key; 300 really."
    )
    region_blocked: bool = Field(default=False, description="Every API call is answered with 451.")
    challenge: bool = Field(default=False, description="Every API call is answered with an edge's challenge page.")


class Openverse(_Settings):
    minute_limit: int = Field(default=20, ge=0, description="Anonymous requests in a minute (window_seconds).")
    daily_limit: int = Field(default=200, ge=0, description="Anonymous requests in a day.")
    window_seconds: float = Field(default=60, gt=0, description="Length of the minute; shorter in tests.")
    foreign_items: bool = Field(default=False, description="Adds a NonCommercial item, an SVG, and one without a size.")


class Wikimedia(_Settings):
    lag_calls: int = Field(default=0, ge=0, description="So many first calls are refused with maxlag, status 200.")


class Fault(_Settings):
    """One way to misbehave, for a share of the URLs; which ones follows from the seed and the URL alone."""

    kind: FaultKind
    share: float = Field(default=1.0, ge=0, le=1, description="Share of the URLs that it hits.")
    where: Literal["api", "image", "any"] = "any"
    source: SourceName | None = Field(default=None, description="One source only.")
    contains: str = Field(default="", description="Only URLs that contain this text.")
    attempts: int | None = Field(default=None, ge=1, description="A URL's first so many requests; none: every one.")
    seed: int = 0
    status: int = Field(default=503, ge=300, le=599, description="For kind status.")
    retry_after: str | None = Field(
        default=None, description="The header's value; `date` is an HTTP date ten seconds ahead; none: no header."
    )
    location: str = Field(
        default="http://169.254.169.254/latest/meta-data/",
        description="For kind redirect; {base} and {port} are this server's.",
    )
    header: str = Field(default="X-Robots-Tag: noai", description="For kind noai: the whole header line.")
    seconds: float = Field(
        default=1, ge=0, description="For hang: until the connection closes; for slow_drip: between bytes."
    )
    mebibytes: int = Field(default=64, ge=1, le=4096, description="For gzip_bomb: decoded size; for oversized: size.")


class SandboxSettings(_Settings):
    key: str = Field(default="sandbox", description="The key that every source accepts.")
    public_url: str | None = Field(default=None, description="How payloads name this server; none: by the Host header.")
    synthetic: int = Field(
        default=0, ge=0, le=1_000_000, description="Present so many small drawn pictures besides the folder's."
    )
    photo_sources: tuple[PhotoSource, ...] = Field(
        default=("unsplash", "pexels"),
        min_length=1,
        description="The sources over which photos are spread. Without a share of its own, Openverse offers them all.",
    )
    creators: int = Field(default=5000, ge=1, description="Distinct photographers and users of each source.")
    unsplash: Unsplash = Field(default_factory=Unsplash)
    pexels: Pexels = Field(default_factory=Pexels)
    civitai: Civitai = Field(default_factory=Civitai)
    openverse: Openverse = Field(default_factory=Openverse)
    wikimedia: Wikimedia = Field(default_factory=Wikimedia)
    faults: tuple[Fault, ...] = ()
