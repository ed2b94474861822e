from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from scrapers.attributions import write_attributions
from scrapers.forget import forget
from scrapers.outcomes.outcome import SourceOutcome
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.images.thumbnail_files import SIDES, THUMBNAILS_FOLDER, thumbnail_file
from utils.metadata import Metadata, read_metadata, write_metadata

Collect = Callable[..., dict[str, SourceOutcome]]
Configure = Callable[..., Config]
Misbehave = Callable[..., None]


def metas(config: Config) -> list[Metadata]:
    return [read_metadata(file) for file in sorted((config.storage.local_path / "meta").rglob("*.json"))]


def images(config: Config) -> int:
    return len([file for file in (config.storage.local_path / "images").rglob("*") if file.is_file()])


def test_a_forgotten_picture_is_deleted_and_never_comes_back(configure: Configure, collect: Collect) -> None:
    config = configure(only=("civitai",))
    collect(config)
    gone = metas(config)[0]
    shown = [thumbnail_file(config.storage.state_path / THUMBNAILS_FOLDER, size, gone.sha256) for size in SIDES]
    for thumbnail in shown:
        thumbnail.parent.mkdir(parents=True)
        thumbnail.write_bytes(b"drawn before")
    assert forget(config, "civitai", source_id=gone.api_data["id"]) == 1
    assert gone.id not in {meta.id for meta in metas(config)} and images(config) == 11
    assert not any(thumbnail.exists() for thumbnail in shown)
    assert collect(config, "run-2")["civitai"].tally.total("stored") == 0
    # not even where everything but the tombstones is forgotten
    database = config.storage.state_path / "scrape.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM items")
        connection.execute("DELETE FROM crawls")
    connection.close()
    outcome = collect(config, "run-3")["civitai"].as_details()
    assert outcome["refused"] == {"tombstone": 1}


def test_forgetting_a_photographer_deletes_all_of_theirs_and_refuses_what_is_still_to_come(
    configure: Configure, collect: Collect, misbehave: Misbehave
) -> None:
    misbehave(creators=1)
    config = configure(only=("civitai",), every={"limit_per_query": 5})
    collect(config)
    name = metas(config)[0].attribution["photographer"]
    assert forget(config, "civitai", photographer=name) == 5
    assert images(config) == 0 and metas(config) == []
    later = collect(configure(only=("civitai",)), "run-2")["civitai"]
    assert later.tally.total("stored") == 0, "what waited in the queue is refused as well"


def test_forgetting_works_without_the_database_and_before_anything_was_collected(
    configure: Configure, collect: Collect
) -> None:
    config = configure(only=("civitai",))
    collect(config)
    for file in config.storage.state_path.glob("scrape.sqlite*"):
        file.unlink()
    gone = metas(config)[0].api_data["id"]
    assert forget(config, "civitai", source_id=gone) == 1
    assert forget(config, "pexels", source_id="4711") == 0
    assert collect(config, "run-2")["civitai"].as_details()["refused"] == {"tombstone": 1}


def test_forgetting_never_deletes_outside_the_data_folder(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    outside = tmp_path / "precious.jpg"
    outside.write_bytes(b"x")
    meta = Metadata("i", "pexels", "real", "2026-01-01T00:00:00Z", "../precious.jpg", "0" * 64, api_data={"id": "7"})
    write_metadata(config.storage.local_path / "meta" / "i.json", meta)
    assert forget(config, "pexels", source_id="7") == 1
    assert outside.exists() and metas(config) == []


def test_what_to_forget_must_be_clear(configure: Configure) -> None:
    with pytest.raises(OperatorError, match="either an id or a photographer"):
        forget(configure(), "pexels")
    with pytest.raises(OperatorError, match="no picture is from"):
        forget(configure(), "flickr", source_id="1")


def credit(config: Config, number: int, **attribution: str) -> None:
    meta = Metadata(f"{number}", "pexels", "real", "2026-01-01T00:00:00Z", "", "", attribution=attribution)
    write_metadata(config.storage.local_path / "meta" / f"{number}.json", meta)


@pytest.mark.parametrize("name", ["credits.html", "credits.md"])
def test_credits_name_everyone_and_run_no_foreign_markup(configure: Configure, tmp_path: Path, name: str) -> None:
    config = configure()
    credit(
        config, 1, platform="Pexels", photographer="<script>x</script> [a](b)", license="L", url="https://p.example/1"
    )
    credit(config, 2, platform="Pexels", photographer="Ünal", license="L", url="javascript:alert(1)")
    credit(config, 3)  # dropped by hand: nobody to credit
    (config.storage.local_path / "meta" / "broken.json").write_text("{")
    page = tmp_path / name
    assert write_attributions(config, page) == 2
    text = page.read_text(encoding="utf-8")
    assert "Ünal" in text and "https://p.example/1" in text
    assert "<script>" not in text and "javascript:" not in text
    assert name.endswith(".html") or "[a](b)" not in text


@pytest.mark.parametrize("name", ["credits.html", "credits.md"])
def test_names_cannot_reorder_or_break_the_credits(configure: Configure, tmp_path: Path, name: str) -> None:
    config = configure()
    credit(
        config,
        1,
        platform="Pexels",
        photographer="Eve\u202egpj\x1b[2J\r\nx",
        license="L\u2067",
        url="https://a\u202e.example/",
    )
    page = tmp_path / name
    write_attributions(config, page)
    text = page.read_text(encoding="utf-8")
    assert "Evegpj [2J x" in text.replace("\\", "")
    assert not set("\u202e\u2067\x1b\r") & set(text)


def test_every_collected_picture_is_credited(configure: Configure, collect: Collect, tmp_path: Path) -> None:
    config = configure()
    collect(config)
    page = tmp_path / "credits.html"
    assert write_attributions(config, page) == images(config) == 42
    text = page.read_text(encoding="utf-8")
    for meta in metas(config):
        assert json.dumps(meta.attribution["platform"])[1:-1].partition(" ")[0] in text
