"""`POST /observations` as a caller meets it: what a batch must say."""

from __future__ import annotations

from typing import Any

import pytest
from api_double import AUTH, SmallService
from starlette.testclient import TestClient

from exposr_api.protocols import Decision
from exposr_client.field.observations import Observations, Seen

REPORTER = "0" * 32
ROW = {
    "day": "2026-03-01",
    "model": "vit",
    "version": "v3",
    "scores": [1] * 20,
    "verdicts": {"ai_generated": 5, "real": 5, "uncertain": 10},
}


def send(client: TestClient, body: Any) -> Any:
    return client.post("/observations", headers=AUTH, json=body)


def test_what_the_client_makes_is_taken(client: TestClient, service: SmallService) -> None:
    observations = Observations()
    observations.add("vit", "v3", [Seen(0.0, "real"), Seen(1.0, "ai_generated"), Seen(0.5, "uncertain")])
    batch = observations.pending()
    assert batch is not None
    answer = client.post("/observations", headers=AUTH, content=batch.body)
    assert (answer.status_code, answer.json()["taken"]) == (200, 1)
    [(reporter, [row])] = service.observations.taken
    assert reporter == observations.reporter
    assert (row["scores"][0], row["scores"][10], row["scores"][19]) == (1, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"day": "yesterday"},
        {"day": "2026-13-01"},
        {"day": "2026-02-30"},
        {"model": "../x"},
        {"version": "3"},
        {"scores": [1] * 19},
        {"scores": [1] * 21},
        {"scores": [-1, 3, *[1] * 18]},
        {"scores": [1.5, *[1] * 19]},
        {"scores": ["1", *[1] * 19]},
        {"scores": [True, *[1] * 19]},
        {"scores": [10**12, *[1] * 19]},
        {"scores": "x"},
        {"verdicts": {"ai_generated": 5, "real": 5, "uncertain": 9}},
        {"verdicts": {"ai_generated": 20, "real": 0}},
        {"unfamiliar": 11},
        {"unfamiliar": -1},
        {"novelty": [1] * 19},
        {"novelty": [2] * 20},
        {"verdicts": {"ai_generated": 5, "real": 5, "uncertain": 10, "cat": 0}},
    ],
    ids=str,
)
def test_a_histogram_that_cannot_be_is_refused(client: TestClient, service: SmallService, change: Any) -> None:
    answer = send(client, {"reporter": REPORTER, "histograms": [ROW, {**ROW, **change}]})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("histograms.1")
    assert service.observations.taken == []


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        "x",
        None,
        {"reporter": "me", "histograms": [ROW]},
        {"reporter": REPORTER, "histograms": []},
        {"reporter": REPORTER, "histograms": [ROW] * 65},
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_batch_that_is_none_is_refused(client: TestClient, service: SmallService, body: Any) -> None:
    assert send(client, body).status_code == 400
    assert client.post("/observations", headers=AUTH, content=b"{" * 1000).status_code == 400
    assert service.observations.taken == []


def test_it_needs_the_key_and_has_a_limit(client: TestClient, service: SmallService) -> None:
    body = {"reporter": REPORTER, "histograms": [ROW]}
    assert client.post("/observations", json=body).status_code == 401
    assert client.get("/observations").status_code == 401
    assert send(client, {**body, "more": "x" * 70_000}).status_code == 413
    assert send(client, {**body, "later": {"keys": "are ignored"}}).status_code == 200
    service.observations.answer = Decision(False, "too_many_reporters", "500 have")
    assert send(client, body).json()["error"] == {"code": "too_many_reporters", "message": "500 have"}
