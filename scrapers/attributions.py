"""The credits page: who made each collected picture, where it is from and under which licence."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from scrapers.candidate import plain_text
from utils.config_loader import Config
from utils.errors import SkipItemError
from utils.files import PART_SUFFIX
from utils.metadata import META_FOLDER, read_metadata

Form = Literal["html", "markdown"]
LINK_SCHEMES = ("https://", "http://")

HTML_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Image credits</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }</style>
</head><body><h1>Image credits</h1><ul>
"""
HTML_TAIL = "</ul></body></html>\n"
MARKDOWN_HEAD = "# Image credits\n\n"
MARKDOWN_SPECIAL = "\\`*_[]<>#|"


@dataclass(frozen=True, slots=True)
class Credit:
    """One picture's line. Links are None where the source gave none, or something that is no web address."""

    platform: str
    photographer: str
    license: str
    url: str | None
    photographer_url: str | None
    license_url: str | None


def read_credits(data_folder: Path) -> Iterator[Credit]:
    """Of every metadata file with a platform, by path; files that cannot be read are left out."""
    for file in sorted((data_folder / META_FOLDER).rglob("*.json")):
        try:
            attribution = read_metadata(file).attribution
        except SkipItemError:
            continue
        if attribution.get("platform"):
            yield _credit(attribution)


def write_attributions(config: Config, output: Path) -> int:
    """Write the page, Markdown when `output` ends in .md and HTML otherwise; returns how many pictures it names."""
    part = output.with_name(f".{output.name}{PART_SUFFIX}")
    with part.open("w", encoding="utf-8", errors="replace") as out:
        count = write_credits(config.storage.local_path, out, "markdown" if output.suffix == ".md" else "html")
    part.replace(output)
    return count


def write_credits(data_folder: Path, out: TextIO, form: Form = "html") -> int:
    """One picture a line; memory does not grow with their number."""
    count = 0
    out.write(HTML_HEAD if form == "html" else MARKDOWN_HEAD)
    for credit in read_credits(data_folder):
        out.write(_as_html(credit) if form == "html" else _as_markdown(credit))
        count += 1
    out.write(HTML_TAIL if form == "html" else "")
    return count


def _credit(attribution: dict[str, Any]) -> Credit:
    return Credit(
        platform=plain_text(str(attribution["platform"])),
        photographer=plain_text(str(attribution.get("photographer") or "")) or "unknown",
        license=plain_text(str(attribution.get("license") or "")) or "see the source's terms",
        url=_link(attribution.get("url")),
        photographer_url=_link(attribution.get("photographer_url")),
        license_url=_link(attribution.get("license_url")),
    )


def _link(value: Any) -> str | None:
    if not isinstance(value, str) or not value.startswith(LINK_SCHEMES) or plain_text(value) != value:
        return None
    return value


def _as_html(credit: Credit) -> str:
    def link(text: str, url: str | None) -> str:
        shown = f"<bdi>{html.escape(text)}</bdi>"
        return f'<a href="{html.escape(url, quote=True)}">{shown}</a>' if url else shown

    return (
        f"<li>{link('Picture', credit.url)} by {link(credit.photographer, credit.photographer_url)}"
        f" on {html.escape(credit.platform)}, {link(credit.license, credit.license_url)}</li>\n"
    )


def _as_markdown(credit: Credit) -> str:
    def link(text: str, url: str | None) -> str:
        shown = "".join(f"\\{letter}" if letter in MARKDOWN_SPECIAL else letter for letter in " ".join(text.split()))
        return f"[{shown}](<{url.replace('<', '%3C').replace('>', '%3E')}>)" if url else shown

    return (
        f"- {link('Picture', credit.url)} by {link(credit.photographer, credit.photographer_url)}"
        f" on {link(credit.platform, None)}, {link(credit.license, credit.license_url)}\n"
    )
