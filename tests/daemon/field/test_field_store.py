"""What the field store keeps, and that it reads what an earlier release wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from daemon.field.store import FieldStore, StoredReport

FIRST_RELEASE = """
CREATE TABLE reports (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, received TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
    verdict TEXT NOT NULL, probability REAL, label TEXT, note TEXT NOT NULL, reporter TEXT NOT NULL
);
INSERT INTO reports VALUES ('1', 'a', '2026-01-01T00:00:00Z', 'vit', 'v1', 'real', 0.1, NULL, '', '');
PRAGMA user_version = 1;
"""


def test_reports_of_an_earlier_release_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "field.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(FIRST_RELEASE)
    old = StoredReport("1", "a", "2026-01-01T00:00:00Z", "vit", "v1", "real", 0.1, None, "", "")
    new = StoredReport("2", "a", "2026-01-02T00:00:00Z", "vit", "v1", "real", 0.1, None, "", "", nearly=True)
    for _ in range(2):  # also when it is opened again
        with closing(FieldStore(file)) as store:
            if store.reports(9) == [old]:
                store.add_report(new)
            assert store.reports_of("a") == [new, old]


def test_a_version_is_noted_once_for_each_serial(tmp_path: Path) -> None:
    with closing(FieldStore(tmp_path / "field.sqlite")) as store:
        store.put_in_service(1, "vit", "v1", "2026-01-01T00:00:00Z")
        store.put_in_service(1, "vit", "v1", "2026-01-09T00:00:00Z")
        store.put_in_service(2, "vit", "v2", "2026-01-02T00:00:00Z")
        assert store.in_service() == {
            1: ("vit", "v1", "2026-01-01T00:00:00Z"),
            2: ("vit", "v2", "2026-01-02T00:00:00Z"),
        }
