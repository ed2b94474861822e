"""Sections of the configuration: the sources and what the harvester may do."""

from __future__ import annotations

from pydantic import Field

from utils.config_sections import Section


class Source(Section):
    """Settings that every source has; defaults in the subclasses are the source's own documented limits."""

    enabled: bool = Field(False, description="Collect from this source (its terms: docs/sources.md).")
    queries: tuple[str, ...] = Field((), description="What to search for; empty: the source's general feed.")
    limit_per_query: int = Field(100, ge=1, le=1_000_000, description="New images for one query in one run, at most.")
    base_url: str = Field("", description="Where the API is; another value is for tests and the demo's sandbox.")
    image_hosts: tuple[str, ...] = Field((), description="Hosts that images may come from (exact names, or host:port).")
    contact: str = Field("", description="Mail or URL of the operator, sent in the User-Agent; needed to start.")


class Unsplash(Source):
    queries: tuple[str, ...] = ("street", "nature", "people", "interior", "animals", "food")
    base_url: str = "https://api.unsplash.com"
    image_hosts: tuple[str, ...] = ("images.unsplash.com",)


class Pexels(Source):
    queries: tuple[str, ...] = ("street", "nature", "people", "interior", "animals", "food")
    base_url: str = "https://api.pexels.com"
    image_hosts: tuple[str, ...] = ("images.pexels.com",)


class Civitai(Source):
    base_url: str = "https://civitai.com"
    image_hosts: tuple[str, ...] = ("image.civitai.com",)


class Sources(Section):
    unsplash: Unsplash = Field(default_factory=Unsplash, description="Photographs: label real. Needs a key.")
    pexels: Pexels = Field(default_factory=Pexels, description="Photographs: label real. Needs a key.")
    civitai: Civitai = Field(default_factory=Civitai, description="Generated pictures: label ai_generated. Needs a key.")
