from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets_made import config_in, draw, write_folder, write_parquet, write_table, write_tars

from scrapers.exchange.hub import Hub
from scrapers.exchange.mapping import Terms
from scrapers.exchange.readers.reader import ReaderOptions
from scrapers.exchange.run import Request, run_import
from scrapers.exchange.tally import ImportTally
from scrapers.forget import forget
from scrapers.store.lock import collecting
from utils.config_loader import Config
from utils.errors import OperatorError, StopRunError
from utils.files import sha256_of_file
from utils.images.check_pool import CheckPool
from utils.metadata import Metadata, read_metadata

PICTURES = draw(12)


class Imports:
    """Runs imports into one data folder."""

    def __init__(self, config: Config, checks: CheckPool) -> None:
        self.config = config
        self._checks = checks

    def __call__(self, path: Path, *, is_dry: bool = False, limit: int | None = None, **terms: Any) -> ImportTally:
        request = Request(str(path), Terms(**{"name": "set", **terms}), ReaderOptions(), limit=limit, is_dry=is_dry)
        known = terms.pop("known", None)
        assert known is None
        work = run_import(self.config, request, "run", Hub(None), checks=self._checks)
        return asyncio.run(work).tally

    def stored(self) -> dict[str, Metadata]:
        """By content; holds that each picture has metadata and each metadata its picture."""
        data = self.config.storage.local_path
        files = {file.stem: file for file in (data / "images").rglob("*") if file.is_file()}
        metas = {file.stem: read_metadata(file) for file in (data / "meta").rglob("*.json")}
        assert files.keys() == metas.keys()
        assert not list((data / ".tmp").iterdir())
        found = {sha256_of_file(file): metas[name] for name, file in files.items()}
        assert len(found) == len(files), "stored twice"
        assert all(sha256 == metadata.sha256 for sha256, metadata in found.items())
        return found


@pytest.fixture
def imports(tmp_path: Path, checks: CheckPool) -> Imports:
    return Imports(config_in(tmp_path / "here"), checks)


def test_pictures_come_in_with_label_source_generator_series_and_credit(imports: Imports, tmp_path: Path) -> None:
    tally = imports(write_folder(tmp_path / "set", PICTURES), license="CC0-1.0")
    found = imports.stored().values()
    assert tally.total("stored") == len(found) == len(PICTURES)
    real = next(metadata for metadata in found if metadata.label == "real")
    made = next(metadata for metadata in found if metadata.label == "ai_generated")
    assert (real.source, real.label_source, real.api_data["series"]) == ("phone", "source", "real/phone/album")
    assert (made.source, made.api_data["generator"]) == ("set", "flux")
    assert real.attribution == {"platform": "set", "license": "CC0-1.0"}
    assert real.api_data["import"]["dataset"] == "set"
    assert str(tmp_path) not in str(found)


def test_the_same_pictures_in_another_form_are_duplicates(imports: Imports, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert imports(write_table(tmp_path / "table", PICTURES)).total("stored") == len(PICTURES)
    for path in (write_tars(tmp_path / "tars", PICTURES), write_parquet(tmp_path / "one.parquet", PICTURES)):
        tally = imports(path)
        assert (tally.total("stored"), tally.total("duplicate")) == (0, len(PICTURES))
    assert len(imports.stored()) == len(PICTURES)


def test_importing_again_reads_nothing_again(imports: Imports, tmp_path: Path) -> None:
    path = write_tars(tmp_path / "tars", PICTURES)
    imports(path)
    again = imports(path)
    assert (again.known, again.decided.total()) == (len(PICTURES), 0)


def test_the_same_bytes_under_the_other_label_come_in_as_a_contradiction(imports: Imports, tmp_path: Path) -> None:
    imports(write_folder(tmp_path / "set", PICTURES))
    tally = imports(write_table(tmp_path / "table", PICTURES[:1]), label="real")
    assert tally.total("stored") == 1


def test_a_dry_run_says_the_same_and_touches_nothing(imports: Imports, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", [*PICTURES, PICTURES[0]])
    (path / "Real" / "broken.jpg").write_bytes(PICTURES[0][:300])
    dry = imports(path, is_dry=True)
    assert not (tmp_path / "here").exists()
    wet = imports(path)
    assert (dry.decided, dry.stored, dry.licenses, dry.examples) == (
        wet.decided,
        wet.stored,
        wet.licenses,
        wet.examples,
    )
    assert (wet.total("stored"), wet.total("duplicate"), wet.total("refused")) == (len(PICTURES), 1, 1)


def test_what_was_deleted_comes_back_when_it_is_imported_again(imports: Imports, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", PICTURES)
    imports(path)
    for name in ("images", "meta"):
        shutil.rmtree(imports.config.storage.local_path / name)
    assert imports(write_tars(tmp_path / "tars", PICTURES[:2])).total("stored") == 2
    assert imports(path).total("stored") == len(PICTURES) - 2
    assert len(imports.stored()) == len(PICTURES)


def test_what_was_forgotten_does_not_come_back(imports: Imports, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", PICTURES)
    imports(path)
    chosen = next(iter(imports.stored().values()))
    assert forget(imports.config, chosen.source, source_id=chosen.api_data["id"]) == 1
    imports(path)
    imports(write_tars(tmp_path / "tars", PICTURES))
    assert chosen.sha256 not in imports.stored()


def test_nothing_of_a_forgotten_person_comes_in(imports: Imports, tmp_path: Path) -> None:
    imports(write_table(tmp_path / "first", PICTURES[:4]))
    assert forget(imports.config, "set", photographer="author 0") == 2
    tally = imports(write_table(tmp_path / "second", PICTURES))
    assert tally.decided["refused", "tombstone"] == 4
    assert "author 0" not in {metadata.attribution["photographer"] for metadata in imports.stored().values()}


def test_a_limit_is_kept_whatever_is_under_way(imports: Imports, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", PICTURES)
    assert imports(path, limit=5).total("stored") == 5
    assert imports(path, limit=100).total("stored") == len(PICTURES) - 5


def test_labels_that_are_not_known_are_counted_and_come_in_once_they_are(imports: Imports, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table", PICTURES)
    table.write_text(table.read_text().replace(",AI,", ",1,"))
    first = imports(table)
    assert dict(first.unmapped) == {"1": len(PICTURES) // 2}
    assert first.total("stored") == len(PICTURES) // 2
    assert imports(table, label="ai_generated").total("stored") == len(PICTURES) // 2


def test_a_collection_and_an_import_exclude_each_other(imports: Imports, tmp_path: Path) -> None:
    with collecting(imports.config.storage.state_path), pytest.raises(StopRunError, match="another collection"):
        imports(write_folder(tmp_path / "set", PICTURES))


def test_a_full_disk_stops_before_anything_is_stored(imports: Imports, tmp_path: Path) -> None:
    storage = imports.config.storage.model_copy(update={"min_free_gb": 1e9})
    imports.config = imports.config.model_copy(update={"storage": storage})
    with pytest.raises(StopRunError, match="min_free_gb"):
        imports(write_folder(tmp_path / "set", PICTURES))


def test_a_path_that_is_not_there_is_said_at_once(imports: Imports, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is nothing"):
        imports(tmp_path / "nowhere")
