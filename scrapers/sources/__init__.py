"""The sources by name. To add one: a module like these, a line here, and what docs/sources.md lists."""

from __future__ import annotations

from scrapers.sources import civitai, openverse, pexels, unsplash, wikimedia
from scrapers.sources.source import SourceModule

SOURCES: dict[str, SourceModule] = {
    source.name: source
    for source in (
        unsplash.SOURCE,
        pexels.SOURCE,
        civitai.SOURCE,
        openverse.SOURCE,
        wikimedia.PHOTOGRAPHS,
        wikimedia.GENERATED,
    )
}
DATASET_SOURCES = ("hf", "folder")  # no APIs but datasets that grow: scrapers/exchange/dataset_run.py takes them in
ALL_SOURCES = (*SOURCES, *DATASET_SOURCES)
