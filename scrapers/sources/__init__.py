"""The sources by name. To add one: a module like these, a line here, and what docs/sources.md lists."""

from __future__ import annotations

from scrapers.sources import civitai, openverse, pexels, unsplash
from scrapers.sources.source import SourceModule

SOURCES: dict[str, SourceModule] = {
    module.SOURCE.name: module.SOURCE for module in (unsplash, pexels, civitai, openverse)
}
