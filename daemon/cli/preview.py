"""`exposr-trainer scrape --dry-run`: what a collection would fetch, from where, at which cost of quota and disk."""

from __future__ import annotations

import asyncio
from typing import Any

from scrapers.harvest import Harvest
from scrapers.outcomes.reasons import explain
from scrapers.preview import Preview, SourcePreview, preview
from scrapers.sources import ALL_SOURCES
from utils.clock import from_iso
from utils.config_loader import Config
from utils.errors import OperatorError

MB, GB = 1_000_000, 1_000_000_000


def preview_scrape(config: Config, options: dict[str, Any]) -> str:
    """Lines for a terminal. Raises OperatorError for a source that does not exist."""
    names = options.get("sources")
    if unknown := [name for name in names or () if name not in ALL_SOURCES]:
        raise OperatorError(f"no such source: {', '.join(unknown)}; known sources: {', '.join(ALL_SOURCES)}")
    since = from_iso(options["since"]) if options.get("since") else None
    harvest = Harvest(config, "preview", names, options.get("limit"), since, int(options.get("min_size") or 0))
    return render_preview(asyncio.run(preview(harvest)))


def render_preview(found: Preview) -> str:
    lines = [line for source in found.sources for line in _render_source(source)]
    total = sum(source.would_fetch for source in found.sources)
    size = sum(source.would_fetch * (source.mean_bytes or 0) for source in found.sources)
    unknown = any(source.would_fetch and source.mean_bytes is None for source in found.sources)
    about = "size not known before the first pictures" if unknown and not size else f"about {size / MB:.0f} MB"
    lines.append(f"would fetch {total} pictures now, {about}; the disk has {found.free_bytes / GB:.1f} GB free")
    lines.append("nothing was fetched; the pages that were asked for count against the quota")
    return "\n".join(lines)


def _render_source(source: SourcePreview) -> list[str]:
    if source.obstacle:
        return [f"{source.name}: not now: {source.obstacle}"]
    more = "; more pages follow" if source.has_more else ""
    lines = [
        f"{source.name}: would fetch {source.would_fetch} (limit {source.limit}):"
        f" {source.new} new on {source.pages} pages, {source.waiting} waiting from earlier, {source.known} known{more}"
    ]
    if source.hosts:
        lines.append("    from " + ", ".join(f"{host} ({count})" for host, count in source.hosts.most_common()))
    left_out = +source.left_out
    lines += [f"    leaves out {count}: {explain(code)}" for code, count in left_out.most_common()]
    each = f", and {source.calls_for_each} for each picture" if source.calls_for_each else ""
    quota = ", ".join(f"{count} in this {window}" for window, count in source.calls_left.items())
    lines.append(f"    quota: {source.pages} calls for these pages{each}; left: {quota or 'no limit known'}")
    return lines + [f"    could not look: {trouble}" for trouble in source.troubles]
