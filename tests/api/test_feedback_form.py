"""`POST /feedback` as a caller meets it: what a form must say, and what each refusal looks like."""

from __future__ import annotations

from typing import Any

import pytest
from api_double import AUTH, SmallService
from starlette.testclient import TestClient

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.protocols import Decision, Report

PICTURE = ("picture.png", b"bytes of a picture", "image/png")
FIELDS = {"version": "vit/v3", "verdict": "ai_generated"}


def send(client: TestClient, **fields: str) -> Any:
    return client.post("/feedback", headers=AUTH, data={**FIELDS, **fields}, files={"file": PICTURE})


def test_a_report_is_handed_on_as_it_was_sent(client: TestClient, service: SmallService) -> None:
    answer = send(client, probability="0.97", label="real", note=" my own\nphotograph ", reporter="core-1")
    assert (answer.status_code, answer.json()) == (201, {"status": "report stored", "sample": "s1", "reports": 1})
    expected = Report("vit", "v3", "ai_generated", 0.97, "real", "my own\nphotograph", "core-1")
    assert service.feedback.taken == [(expected, PICTURE[1])]
    [listed] = client.get("/feedback", headers=AUTH).json()["reports"]
    assert (listed["note"], listed["state"]) == ("my own\nphotograph", "waiting")


def test_what_may_be_left_out_may_be_empty(client: TestClient, service: SmallService) -> None:
    assert send(client, probability="", label="", note="", reporter="").status_code == 201
    assert service.feedback.taken[0][0] == Report("vit", "v3", "ai_generated")


def test_a_version_without_its_family_gets_that_of_the_published_one(client: TestClient, service: SmallService) -> None:
    service.models.publish(model="mobilenetv2")
    send(client, version="v1")
    assert service.feedback.taken[0][0].model == "mobilenetv2"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", ""),
        ("version", "3"),
        ("version", "../v3"),
        ("version", "v3\n"),
        ("version", "<script>/v3"),
        ("verdict", "fake"),
        ("verdict", "REAL"),
        ("probability", "1.1"),
        ("probability", "nan"),
        ("probability", "much"),
        ("label", "cat"),
        ("note", "x" * 2001),
        ("reporter", "x" * 201),
    ],
)
def test_a_field_that_is_wrong_is_named_and_not_repeated(
    client: TestClient, service: SmallService, field: str, value: str
) -> None:
    answer = send(client, **{field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    assert len(value) < 4 or value not in answer.text
    assert service.feedback.taken == []


def test_control_characters_do_not_reach_pages_or_logs(client: TestClient, service: SmallService) -> None:
    send(client, note="a\x00b\x1b[31mc\u202ed\r\ne", reporter="x\ny")
    report = service.feedback.taken[0][0]
    assert report.note == "a b [31mc d \ne"
    assert "\x1b" not in report.note + report.reporter


def test_markup_is_kept_as_text_and_served_as_json_alone(client: TestClient) -> None:
    send(client, note="<script>alert(1)</script>")
    answer = client.get("/feedback", headers=AUTH)
    assert answer.json()["reports"][0]["note"] == "<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_a_picture_it_is_no_report(client: TestClient, service: SmallService) -> None:
    for answer in (
        client.post("/feedback", headers=AUTH),
        client.post("/feedback", headers=AUTH, data=FIELDS),
        client.post("/feedback", headers=AUTH, json=FIELDS),
        client.post("/feedback", headers=AUTH, data={**FIELDS, "file": "a text"}),
        client.post(
            "/feedback", headers={**AUTH, "content-type": "multipart/form-data; boundary=x"}, content=b"--y\r\nnonsense"
        ),
        client.post("/feedback", headers=AUTH, data=FIELDS, files=[("file", PICTURE), ("more", PICTURE)]),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "bad_request"
    assert service.feedback.taken == []


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        ("not_a_picture", 422, None),
        ("too_many_reports", 429, "77"),
        ("busy", 503, "77"),
        ("queue_full", 409, None),
        ("feedback_off", 409, None),
    ],
)
def test_each_refusal_has_its_status_and_its_reason(
    client: TestClient, service: SmallService, code: str, status: int, retry: str | None
) -> None:
    service.feedback.answer = Decision(False, code, "because", {"retry_after_seconds": 77})
    answer = send(client)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert answer.json()["error"] == {"code": code, "message": "because"}


def test_a_body_that_is_too_large_is_refused(service: SmallService) -> None:
    from api_double import KEY

    client = TestClient(create_app(service, Keys([KEY]), max_upload_bytes=100_000))
    big = {"file": ("picture.png", bytes(200_000), "image/png")}
    assert client.post("/feedback", headers=AUTH, data=FIELDS, files=big).status_code == 413
    assert service.feedback.taken == []


def test_it_needs_the_key(client: TestClient, service: SmallService) -> None:
    assert client.post("/feedback", data=FIELDS, files={"file": PICTURE}).status_code == 401
    assert client.get("/feedback").status_code == 401
    assert service.feedback.taken == []


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x"])
def test_the_list_has_a_limit(client: TestClient, limit: str) -> None:
    assert client.get(f"/feedback?limit={limit}", headers=AUTH).status_code == 400
