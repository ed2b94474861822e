"""The metadata file: the guide's form, and edits that keep everything else."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import SkipItemError
from utils.metadata import (
    Metadata,
    image_path,
    metadata_path,
    new_sample_id,
    read_metadata,
    update_metadata,
    write_metadata,
)

GUIDE = {
    "id": "abc",
    "source": "pexels",
    "label": "real",
    "timestamp": "2025-10-28T20:00:00Z",
    "attribution": {"platform": "Pexels", "photographer": "John Doe", "license": "Free to use"},
    "api_data": {"id": 7},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_the_guides_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "abc.json"
    file.write_text(json.dumps(GUIDE))
    metadata = read_metadata(file)
    assert (metadata.id, metadata.label, metadata.label_source, metadata.path) == ("abc", "real", None, "")
    assert metadata.attribution["photographer"] == "John Doe"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    metadata = Metadata("abc", "manual", None, "2025-10-28T20:00:00Z", "real/ä\n.jpg", "0" * 64, "person", {"a": 1})
    write_metadata(tmp_path / "deep/abc.json", metadata)
    assert read_metadata(tmp_path / "deep/abc.json") == metadata


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_an_edit_keeps_every_other_key(tmp_path_factory: pytest.TempPathFactory, extra: dict[str, object]) -> None:
    file = tmp_path_factory.mktemp("meta") / "abc.json"
    before = {**extra, **GUIDE}
    file.write_text(json.dumps(before))
    update_metadata(file, label="ai_generated", label_source="person", path="real/a.jpg")
    after = json.loads(file.read_text())
    assert {**before, "label": "ai_generated", "label_source": "person", "path": "real/a.jpg"} == after


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        (" " * (1 << 21), "larger than"),
    ],
)
def test_what_is_no_metadata_is_named_and_not_overwritten(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "abc.json"
    file.write_text(content)
    with pytest.raises(SkipItemError, match=reason):
        read_metadata(file)
    with pytest.raises(SkipItemError):
        update_metadata(file, label="real", label_source="person")
    assert file.read_text() == content


@pytest.mark.parametrize(
    ("field", "value", "taken", "fault"),
    [
        ("label", "photo", None, "label is 'photo'"),
        ("label", ["real"], None, "label is ['real']"),
        ("label_source", 1, None, "label_source is 1"),
        ("id", "", "abc", "id is ''"),
        ("timestamp", 17, "", "timestamp is 17, a text is needed"),
        ("source", None, "", "source is None"),
        ("api_data", [], {}, "api_data is [], an object is needed"),
        ("attribution", "me", {}, "attribution is 'me'"),
        ("path", 3, "", "path is 3"),
        ("sha256", {}, "", "sha256 is {}"),
    ],
)
def test_one_wrong_field_does_not_void_the_others(
    tmp_path: Path, field: str, value: object, taken: object, fault: str
) -> None:
    file = tmp_path / "abc.json"
    file.write_text(json.dumps(GUIDE | {field: value}))
    metadata = read_metadata(file)
    assert getattr(metadata, field) == taken
    assert metadata.faults.keys() == {field} and fault in metadata.faults[field]
    if field != "label":
        assert metadata.label == GUIDE["label"]
    update_metadata(file, label="ai_generated", label_source="person")
    written = json.loads(file.read_text())
    assert written == GUIDE | {field: value} | {"label": "ai_generated", "label_source": "person"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_byte_order_mark_and_utf_16_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "abc.json"
    file.write_text(json.dumps(GUIDE), encoding=encoding)
    metadata = read_metadata(file)
    assert metadata.label == GUIDE["label"] and not metadata.faults


def test_places_are_by_day(tmp_path: Path) -> None:
    day = datetime(2025, 1, 2, tzinfo=UTC)
    assert image_path(tmp_path, "abc", day, ".jpg") == tmp_path / "images/2025/01/02/abc.jpg"
    assert metadata_path(tmp_path, "abc", day) == tmp_path / "meta/2025/01/02/abc.json"


def test_new_ids_are_uuids_in_the_order_of_time() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_sample_id(start + timedelta(milliseconds=step)) for step in range(500)]
    assert ids == sorted(ids)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert int(uuid.UUID(ids[0])) >> 80 == start.timestamp() * 1000
    assert len({new_sample_id(start) for _ in range(500)}) == 500
