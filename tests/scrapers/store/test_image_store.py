"""A crash after any step of a store: the next start completes or undoes it, and no image is ever without metadata."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrapers.candidate import Candidate, Variant
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, Placement, QueuedItem

CONTENT = b"\xff\xd8\xff picture"


@pytest.fixture
def item_store(tmp_path: Path) -> Iterator[ItemStore]:
    item_store = ItemStore(tmp_path / "state", "run-1")
    yield item_store
    item_store.close()


@pytest.fixture
def image_store(tmp_path: Path, item_store: ItemStore) -> ImageStore:
    (tmp_path / "data").mkdir()
    return ImageStore(tmp_path / "data", item_store)


def queue(item_store: ItemStore, *names: str) -> list[QueuedItem]:
    found = [Candidate(name, (Variant("original", f"https://x.example/{name}"),), {}, {}) for name in names]
    with item_store.transaction() as db:
        item_store.add_items(db, "pexels", "", found)
    return item_store.queued("pexels", "", 0, 100)


def placement(item: QueuedItem, content: bytes = CONTENT, label: str = "real") -> Placement:
    name = item.sample_id
    return Placement(
        row=item.row,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        label=label,
        path=f"images/2026/03/01/{name}.jpg",
        meta_path=f"meta/2026/03/01/{name}.json",
        metadata=json.dumps({"id": name}),
        day="2026-03-01",
    )


def download(image_store: ImageStore, item: QueuedItem, content: bytes = CONTENT) -> Path:
    part = image_store.part_path(item.sample_id)
    part.write_bytes(content)
    return part


async def put_all(image_store: ImageStore, pairs: list[tuple[Placement | Decision, Path | None]]) -> list[Decision]:
    try:
        return await asyncio.gather(*(image_store.put(*pair) for pair in pairs))
    finally:
        await image_store.close()


def files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_file())


def test_a_stored_image_has_its_metadata_and_leaves_no_part(
    tmp_path: Path, item_store: ItemStore, image_store: ImageStore
) -> None:
    (item,) = queue(item_store, "a")
    decisions = asyncio.run(put_all(image_store, [(placement(item), download(image_store, item))]))
    assert [decision.state for decision in decisions] == ["stored"]
    assert files(tmp_path) == [f"images/2026/03/01/{item.sample_id}.jpg", f"meta/2026/03/01/{item.sample_id}.json"]
    assert item_store.unfinished() == [] and item_store.queued("pexels", "", 0, 10) == []


def test_same_bytes_are_stored_once_for_a_label_and_kept_under_both_labels(
    tmp_path: Path, item_store: ItemStore, image_store: ImageStore
) -> None:
    first, second, third = queue(item_store, "a", "b", "c")
    puts: list[tuple[Placement | Decision, Path | None]] = [
        (placement(first), download(image_store, first)),
        (placement(second), download(image_store, second)),
        (placement(third, label="ai_generated"), download(image_store, third)),
    ]
    decisions = asyncio.run(put_all(image_store, puts))
    assert [(decision.state, decision.why) for decision in decisions] == [
        ("stored", ""),
        ("duplicate", "bytes"),
        ("stored", ""),
    ]
    assert len(files(tmp_path)) == 4, "the index sees the conflict of the labels and keeps both out of training"


def test_bytes_that_were_forgotten_do_not_come_back_under_another_id(
    tmp_path: Path, item_store: ItemStore, image_store: ImageStore
) -> None:
    (item,) = queue(item_store, "a")
    with item_store.transaction() as db:
        db.execute(
            "INSERT INTO tombstones (source, sha256, reason, at) VALUES ('unsplash', ?, '', '')",
            (placement(item).sha256,),
        )
    decisions = asyncio.run(put_all(image_store, [(placement(item), download(image_store, item))]))
    assert [(decision.state, decision.why) for decision in decisions] == [("refused", "tombstone")]
    assert files(tmp_path) == []


@pytest.mark.parametrize("crashed_after", ["download", "journal", "rename", "metadata"])
def test_a_crash_after_any_step_is_repaired(
    tmp_path: Path, item_store: ItemStore, image_store: ImageStore, crashed_after: str
) -> None:
    (item,) = queue(item_store, "a")
    wanted = placement(item)
    part, image, meta = (
        download(image_store, item),
        tmp_path / "data" / wanted.path,
        tmp_path / "data" / wanted.meta_path,
    )
    if crashed_after != "download":
        with item_store.transaction() as db:
            assert item_store.begin_placing(db, wanted) is None
    if crashed_after in ("rename", "metadata"):
        image.parent.mkdir(parents=True)
        part.rename(image)
    if crashed_after == "metadata":
        meta.parent.mkdir(parents=True)
        meta.write_text(wanted.metadata)

    restarted = ImageStore(tmp_path / "data", item_store)
    done = restarted.repair()

    if crashed_after == "download":
        assert done == {"completed": 0, "put_back": 0, "parts_removed": 1}
        assert files(tmp_path) == []
        assert [again.row for again in item_store.queued("pexels", "", 0, 10)] == [item.row]
    else:
        assert done["completed"] == 1
        assert files(tmp_path) == [wanted.path, wanted.meta_path]
        assert image.read_bytes() == CONTENT and json.loads(meta.read_text()) == {"id": item.sample_id}
        assert item_store.outcomes("pexels")["stored"] == {"": 1}
    assert restarted.repair() == {"completed": 0, "put_back": 0, "parts_removed": 0}


def test_a_journal_entry_without_its_file_waits_for_another_download(
    item_store: ItemStore, image_store: ImageStore
) -> None:
    (item,) = queue(item_store, "a")
    with item_store.transaction() as db:
        item_store.begin_placing(db, placement(item))
    assert image_store.repair()["put_back"] == 1
    assert [again.candidate for again in item_store.queued("pexels", "", 0, 10)] == [item.candidate]


def test_a_full_disk_fails_the_store_and_loses_nothing(
    tmp_path: Path, item_store: ItemStore, image_store: ImageStore
) -> None:
    (item,) = queue(item_store, "a")
    part = download(image_store, item)
    (tmp_path / "data" / "meta").write_text("no folder")  # the metadata cannot be written
    with pytest.raises(OSError):
        asyncio.run(put_all(image_store, [(placement(item), part)]))
    (tmp_path / "data" / "meta").unlink()
    assert ImageStore(tmp_path / "data", item_store).repair()["completed"] == 1
    assert len(files(tmp_path)) == 2
