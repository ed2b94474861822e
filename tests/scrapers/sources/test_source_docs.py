"""docs/sources.md names every source, every setting and every key variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrapers.sources import ALL_SOURCES
from scrapers.status import KEYS
from utils.config.sources import Folder, Harvest, Hf, Source

TEXT = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALL_SOURCES)
def test_every_source_has_its_row_and_its_terms(name: str) -> None:
    assert f"\n| `{name}` |" in TEXT
    key = KEYS[name]
    assert key is None or f"`{key[1]}`" in TEXT


@pytest.mark.parametrize("key", [*Source.model_fields, *Harvest.model_fields, *Hf.model_fields, *Folder.model_fields])
def test_every_setting_is_documented(key: str) -> None:
    assert f"`{key}`" in TEXT
