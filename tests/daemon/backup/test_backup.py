import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from daemon.backup.backup import back_up, restore
from daemon.backup.files import MANIFEST_FILE, read_manifest
from daemon.state.lock import StateLock
from utils.config_loader import Config, load_config
from utils.errors import OperatorError
from utils.files import write_atomically


@pytest.fixture
def config_at() -> Callable[[Path], Config]:
    def build(root: Path) -> Config:
        environ = {f"EXPOSR_STORAGE__{name.upper()}_PATH": str(root / name) for name in ("local", "models", "state")}
        return load_config(environ=environ)

    return build


@pytest.fixture
def service(tmp_path: Path, config_at: Callable[[Path], Config]) -> Config:
    """The folders of a service that has collected one image and published one version."""
    config = config_at(tmp_path / "service")
    data, models, state = config.storage.local_path, config.storage.models_path, config.storage.state_path
    write_atomically(data / "images/2026/01/02/a.jpg", b"picture")
    write_atomically(data / "meta/2026/01/02/a.json", b"{}")
    write_atomically(data / "real/by hand.png", b"dropped")
    write_atomically(models / "registry.json", b"[]")
    write_atomically(models / "vit/v1/weights.pt", b"w" * 100)
    write_atomically(models / "vit/.staging-v2-ab/weights.pt", b"unfinished")
    write_atomically(state / "keys/api", b"secret", mode=0o600)
    write_atomically(state / "jobs/run/log.txt", b"much")
    write_atomically(state / "embeddings/x.npy", b"much")
    with closing(sqlite3.connect(state / "daemon.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE runs (id TEXT)")
        database.execute("INSERT INTO runs VALUES ('first')")
        database.commit()
    return config


def tree(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_a_restored_service_has_everything_that_cannot_be_made_again(
    service: Config, tmp_path: Path, config_at: Callable[[Path], Config]
) -> None:
    back_up(service, tmp_path / "backup")
    elsewhere = config_at(tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup")
    assert tree(elsewhere.storage.local_path) == tree(service.storage.local_path)
    assert tree(elsewhere.storage.models_path) == {"registry.json": b"[]", "vit/v1/weights.pt": b"w" * 100}
    state = tree(elsewhere.storage.state_path)
    assert sorted(state) == ["daemon.sqlite", "keys/api", "lock"]
    with closing(sqlite3.connect(elsewhere.storage.state_path / "daemon.sqlite")) as database:
        assert database.execute("SELECT id FROM runs").fetchall() == [("first",)]


def test_keys_and_the_backup_itself_are_closed_to_others(service: Config, tmp_path: Path) -> None:
    back_up(service, tmp_path / "backup")
    for path in ("", "state/keys/api", "state/daemon.sqlite", MANIFEST_FILE):
        assert stat.S_IMODE((tmp_path / "backup" / path).stat().st_mode) & 0o077 == 0


def test_a_database_is_copied_whole_while_it_is_written(service: Config, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(service.storage.state_path / "daemon.sqlite")) as database:
            number = 0
            while not stop.is_set():
                # two rows in one transaction: a copy that holds an odd number is torn
                database.executemany("INSERT INTO runs VALUES (?)", [(f"{number}a",), (f"{number}b",)])
                database.commit()
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(service, tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    with closing(sqlite3.connect(tmp_path / "backup/state/daemon.sqlite")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM runs WHERE id != 'first'").fetchone()[0] % 2 == 0


def test_an_image_that_arrives_meanwhile_never_lies_there_without_its_label(service: Config, tmp_path: Path) -> None:
    data = service.storage.local_path

    def arrive(done: int, path: str) -> None:
        write_atomically(data / f"images/2026/01/03/{done}.jpg", b"new")
        write_atomically(data / f"meta/2026/01/03/{done}.json", b"{}")

    back_up(service, tmp_path / "backup", progress=arrive)
    saved = {file.path for file in read_manifest(tmp_path / "backup").files}
    images = [path for path in saved if path.startswith("datasets/images/")]
    assert images
    for image in images:
        assert image.replace("/images/", "/meta/").replace(".jpg", ".json") in saved


def test_links_are_neither_followed_nor_copied(service: Config, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("not ours")
    (service.storage.local_path / "link.jpg").symlink_to(tmp_path / "private")
    back_up(service, tmp_path / "backup")
    assert not any("link.jpg" in file.path for file in read_manifest(tmp_path / "backup").files)


def test_a_damaged_backup_is_refused_before_anything_is_written(
    service: Config, tmp_path: Path, config_at: Callable[[Path], Config]
) -> None:
    back_up(service, tmp_path / "backup")
    (tmp_path / "backup/models/vit/v1/weights.pt").write_bytes(b"x" * 100)
    elsewhere = config_at(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match=r"models/vit/v1/weights\.pt: its bytes are not those"):
        restore(elsewhere, tmp_path / "backup")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_there_already_is_not_overwritten(service: Config, tmp_path: Path) -> None:
    back_up(service, tmp_path / "backup")
    with pytest.raises(OperatorError, match="is not empty"):
        restore(service, tmp_path / "backup")


def test_a_running_service_is_not_restored_into(
    service: Config, tmp_path: Path, config_at: Callable[[Path], Config]
) -> None:
    back_up(service, tmp_path / "backup")
    elsewhere = config_at(tmp_path / "elsewhere")
    lock = StateLock(elsewhere.storage.state_path)
    lock.acquire("exposr-trainer serve")
    with pytest.raises(OperatorError, match="already works on this state"):
        restore(elsewhere, tmp_path / "backup")
    lock.release()


@pytest.mark.parametrize("place", ["service/local/backup", "service/state"])
def test_a_backup_inside_the_data_is_refused(service: Config, tmp_path: Path, place: str) -> None:
    with pytest.raises(OperatorError, match="lies inside"):
        back_up(service, tmp_path / place)


def test_a_used_folder_is_refused(service: Config, tmp_path: Path) -> None:
    back_up(service, tmp_path / "backup")
    with pytest.raises(OperatorError, match="is not empty"):
        back_up(service, tmp_path / "backup")


def test_a_backup_that_was_cut_off_is_none(service: Config, tmp_path: Path) -> None:
    back_up(service, tmp_path / "backup")
    (tmp_path / "backup" / MANIFEST_FILE).unlink()
    with pytest.raises(OperatorError, match="no complete backup"):
        restore(service, tmp_path / "backup")


@pytest.mark.parametrize("path", ["../outside", "models/../../outside", "/etc/passwd", "elsewhere/file"])
def test_a_manifest_cannot_lead_outside(service: Config, tmp_path: Path, path: str) -> None:
    back_up(service, tmp_path / "backup")
    file = tmp_path / "backup" / MANIFEST_FILE
    raw = json.loads(file.read_text())
    raw["files"][0]["path"] = path
    file.write_text(json.dumps(raw))
    with pytest.raises(OperatorError, match="is not a path inside a backup"):
        restore(service, tmp_path / "backup")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_left_out_by_name(service: Config, tmp_path: Path) -> None:
    (service.storage.local_path / "real/by hand.png").chmod(0)
    message = back_up(service, tmp_path / "backup")
    assert "left out: datasets/real/by hand.png: Permission denied" in message
