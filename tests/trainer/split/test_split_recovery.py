"""A lost or damaged split ledger is made again from the published versions: nothing changes sides."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.data.snapshot import Sample, write_snapshot
from trainer.split.split import Split, split_samples


def samples(count: int, start: int = 0) -> list[Sample]:
    found = []
    for number in range(start, start + count):
        digest = hashlib.sha256(f"s{number}".encode()).hexdigest()
        plain = Sample(digest, f"{number}.jpg", digest, 1, "real", "manual", "jpeg", 256, 256, False, phash=digest[:16])
        label = ("real", "ai_generated")[number % 2]
        found.append(replace(plain, label=label, creator=f"c{number // 3}"))  # type: ignore[arg-type]
    return found


def places(result: Split) -> dict[str, str]:
    return {member.sample.sha256: member.part for member in result.samples()}


def split(members: list[Sample], base: Path, key: str) -> Split:
    return split_samples(members, base / "split.sqlite", key=key, near_duplicate_distance=6, published=base / "models")


@pytest.fixture
def before(tmp_path: Path) -> dict[str, str]:
    """Parts as they were when a version was published."""
    members = samples(90)
    result = split(members, tmp_path, "the key of then")
    folder = tmp_path / "models/vit/v1"
    folder.mkdir(parents=True)
    write_snapshot(folder / "snapshot.jsonl", members)
    rows = [{"sha256": sha256, "group": "g", "part": part} for sha256, part in places(result).items()]
    (folder / "split.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return places(result)


@pytest.mark.parametrize("damage", [None, b"", b"no database" * 1000])
def test_every_published_sample_is_where_it_was(tmp_path: Path, before: dict[str, str], damage: bytes | None) -> None:
    file = tmp_path / "split.sqlite"
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    after = places(split(samples(120), tmp_path, "another key"))
    assert {sha256: after[sha256] for sha256 in before} == before
    assert len(after) > len(before)
    if damage:
        assert (tmp_path / "split.sqlite.set-aside").read_bytes() == damage


def test_damage_in_the_middle_is_noticed(tmp_path: Path, before: dict[str, str]) -> None:
    file = tmp_path / "split.sqlite"
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    assert places(split(samples(90), tmp_path, "another key")) == before


def test_creators_and_near_duplicates_follow_what_was_recovered(tmp_path: Path, before: dict[str, str]) -> None:
    (tmp_path / "split.sqlite").unlink()
    known = samples(90)[0]
    sibling = replace(known, sha256="f" * 64, phash=None)
    twin = replace(known, sha256="e" * 64, creator=None)
    after = places(split([sibling, twin], tmp_path, "another key"))
    assert after == {"f" * 64: before[known.sha256], "e" * 64: before[known.sha256]}


def test_what_a_version_says_unreadably_is_passed_over(tmp_path: Path, before: dict[str, str]) -> None:
    (tmp_path / "split.sqlite").unlink()
    broken = tmp_path / "models/vit/v2"
    broken.mkdir()
    (broken / "split.jsonl").write_text("{")
    assert places(split(samples(90), tmp_path, "another key")) == before
