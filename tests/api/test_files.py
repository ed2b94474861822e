"""The file API: exactly the published bytes, in whole or in part, and never anything else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from api_double import AUTH, WEIGHTS, SmallService, is_open
from starlette.testclient import TestClient

from exposr_api import files
from exposr_api.files import open_published

PATH = "/models/vit/v1/weights.pt"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
ETAG = f'"{SHA256}"'
SIZE = len(WEIGHTS)


@pytest.fixture(autouse=True)
def published(service: SmallService) -> None:
    service.models.publish()


def test_a_file_comes_whole_with_what_a_cache_needs(client: TestClient) -> None:
    answer = client.get(PATH, headers=AUTH)
    assert answer.status_code == 200
    assert answer.content == WEIGHTS
    assert answer.headers["etag"] == ETAG
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["accept-ranges"] == "bytes"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/models/vit/v1/model.json", headers=AUTH).headers["content-type"] == "application/json"


def test_head_says_the_same_and_sends_nothing(client: TestClient) -> None:
    answer = client.head(PATH, headers=AUTH | {"Range": "bytes=0-9"})  # a range is for GET only
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["etag"]) == (str(SIZE), ETAG)


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=100-199", 100, 200),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=5-{SIZE * 9}", 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 9}", 0, SIZE),
        ("BYTES=1-2", 1, 3),
        (" bytes= 1-2 ", 1, 3),
    ],
)
def test_a_range_is_served(client: TestClient, wanted: str, start: int, stop: int) -> None:
    answer = client.get(PATH, headers=AUTH | {"Range": wanted})
    assert answer.status_code == 206
    assert answer.content == WEIGHTS[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE * 2}-{SIZE * 3}", "bytes=-0"])
def test_a_range_outside_the_file_is_416_with_the_size(client: TestClient, wanted: str) -> None:
    answer = client.get(PATH, headers=AUTH | {"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", "bytes", "bytes=1-2,4-5", "bytes=٣-٤", "=1-2", "bytes=1--2"],
)
def test_a_range_that_means_nothing_or_too_much_gives_the_whole_file(client: TestClient, wanted: str) -> None:
    answer = client.get(PATH, headers=AUTH | {"Range": wanted.encode()})
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


def test_a_huge_number_in_a_range_costs_nothing(client: TestClient) -> None:
    assert client.get(PATH, headers=AUTH | {"Range": "bytes=0-" + "9" * 5000}).status_code == 200


def test_a_resume_continues_only_the_same_bytes(client: TestClient) -> None:
    resume = AUTH | {"Range": "bytes=100-"}
    assert client.get(PATH, headers=resume | {"If-Range": ETAG}).content == WEIGHTS[100:]
    for other in ('"0000"', f"W/{ETAG}", "Wed, 21 Oct 2026 07:28:00 GMT", "", SHA256):
        answer = client.get(PATH, headers=resume | {"If-Range": other})
        assert (answer.status_code, answer.content) == (200, WEIGHTS), other


@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"other", W/{ETAG} ,"third"', "*", f'"with, comma",{ETAG}'])
def test_known_bytes_are_not_sent_again(client: TestClient, known: str) -> None:
    for extra in ({}, {"Range": "bytes=0-1"}):
        answer = client.get(PATH, headers=AUTH | extra | {"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", ETAG)


def test_a_list_of_tags_may_be_spread_over_several_headers(client: TestClient) -> None:
    tags = [("If-None-Match", '"other"'), ("If-None-Match", ETAG), *AUTH.items()]
    assert client.get(PATH, headers=tags).status_code == 304  # type: ignore[arg-type]


@pytest.mark.parametrize("known", ['"other"', SHA256, f'"{SHA256}', "", '"*"', f'"x{SHA256}"'])
def test_other_tags_get_the_bytes(client: TestClient, known: str) -> None:
    assert client.get(PATH, headers=AUTH | {"If-None-Match": known}).status_code == 200


def test_if_match_holds_for_our_bytes_only(client: TestClient) -> None:
    assert client.get(PATH, headers=AUTH | {"If-Match": f'"x", {ETAG}'}).status_code == 200
    answer = client.get(PATH, headers=AUTH | {"If-Match": f"W/{ETAG}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "precondition_failed")


def test_an_empty_file_is_served(client: TestClient, service: SmallService) -> None:
    service.models.publish(b"")
    answer = client.get("/models/vit/v2/weights.pt", headers=AUTH)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "0", b"")
    assert client.get("/models/vit/v2/weights.pt", headers=AUTH | {"Range": "bytes=0-"}).status_code == 416


def test_nothing_but_published_files_is_served(client: TestClient, models_folder: Path) -> None:
    (models_folder / "vit" / "v1" / "notes.txt").write_text("not published")
    (models_folder / "vit" / "v7").mkdir()
    (models_folder / "vit" / "v7" / "weights.pt").write_bytes(b"never published")
    (models_folder / "secret.pt").write_bytes(b"secret")
    for path in (
        "vit/v1/notes.txt",
        "vit/v7/weights.pt",
        "vit/v2/weights.pt",
        "cnn/v1/weights.pt",
        "vit/v1/..",
        "vit/../secret.pt",
    ):
        answer = client.get(f"/models/{path.replace('..', '%2e%2e')}", headers=AUTH)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("depth", ["file", "version", "model"])
def test_a_symbolic_link_planted_between_look_up_and_opening_is_not_followed(
    service: SmallService, models_folder: Path, tmp_path: Path, depth: str
) -> None:
    found = service.models.published_file("vit", "v1", "weights.pt")
    assert found is not None
    outside = tmp_path / "outside"
    original = {"file": found.path, "version": found.path.parent, "model": found.path.parent.parent}[depth]
    original.rename(outside)
    original.symlink_to(outside)
    with pytest.raises(files.ApiError) as refused:
        open_published(found)
    assert refused.value.code == "version_damaged"


def test_the_models_folder_itself_may_be_reached_through_a_link(service: SmallService, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "models")
    service.models.registry.models_path = tmp_path / "link"
    found = service.models.published_file("vit", "v1", "weights.pt")
    assert found is not None
    os.close(open_published(found))


def test_what_is_not_the_published_file_any_more_is_never_sent(
    client: TestClient, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = service.models.published_file("vit", "v1", "weights.pt")
    assert found is not None
    monkeypatch.setattr(service.models, "published_file", lambda *names: found)  # the look-up was before the change

    def replace_by_fifo() -> None:
        found.path.unlink()
        os.mkfifo(found.path)

    for change in (lambda: found.path.write_bytes(b"short"), replace_by_fifo, found.path.unlink):
        change()
        answer = client.get(PATH, headers=AUTH)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "version_damaged")


def test_a_file_that_is_replaced_while_it_is_sent_arrives_whole(service: SmallService) -> None:
    found = service.models.published_file("vit", "v1", "weights.pt")
    assert found is not None
    descriptor = open_published(found)
    found.path.unlink()
    found.path.write_bytes(b"other")
    assert os.pread(descriptor, SIZE, 0) == WEIGHTS
    os.close(descriptor)


def test_no_descriptor_is_left_open(client: TestClient, models_folder: Path) -> None:
    for headers in ({}, {"Range": "bytes=1-2"}, {"If-None-Match": "*"}, {"Range": f"bytes={SIZE}-"}):
        client.get(PATH, headers=AUTH | headers)
        client.head(PATH, headers=AUTH | headers)
    assert not is_open(models_folder / "vit" / "v1" / "weights.pt")
