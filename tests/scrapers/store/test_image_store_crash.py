"""What a crash between image and metadata leaves is found, completed, and nothing lies about."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scrapers.candidate import Candidate, Variant
from scrapers.store.image_store import TEMPORARY_FOLDER, ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, Placement

CANDIDATE = Candidate("1", (Variant("original", "https://images.pexels.com/1.jpeg"),), {}, {})


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_store_that_broke_off_before_its_metadata_is_completed_by_repair(tmp_path: Path) -> None:
    data = tmp_path / "datasets"
    item_store = ItemStore(tmp_path / "state", "run-1")
    with item_store.transaction() as db:
        item_store.add_items(db, "pexels", "", [CANDIDATE])
    [item] = item_store.queued("pexels", "", 0, 10)
    placement = Placement(
        item.row, "0" * 64, 5, "real", "images/x.jpg", "meta/day/x.json", '{"id": "x"}\n', "2026-03-01"
    )
    (data / "meta").mkdir(parents=True)
    (data / "meta" / "day").write_text("in the way")

    async def store() -> Decision:
        image_store = ImageStore(data, item_store)
        part = image_store.part_path(item.sample_id)
        part.write_bytes(b"bytes")
        try:
            return await image_store.put(placement, part)
        finally:
            await image_store.close()

    with pytest.raises(OSError):
        asyncio.run(store())
    left = [name for name in files_of(data) if not name.startswith(TEMPORARY_FOLDER)]
    assert left == ["images/x.jpg", "meta/day"], "only the temporary folder may hold what is half-written"

    (data / "meta" / "day").unlink()
    assert ImageStore(data, item_store).repair() == {"completed": 1, "put_back": 0, "parts_removed": 0}
    assert files_of(data) == ["images/x.jpg", "meta/day/x.json"]
    assert (data / "meta" / "day" / "x.json").read_text() == '{"id": "x"}\n'
    item_store.close()
